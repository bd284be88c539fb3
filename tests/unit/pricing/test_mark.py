"""The mark price, method ``quantdesk``."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantdesk_oracle.pricing.mark import MarkInputs, funding_adjusted, mark_price

D = Decimal
PLAIN = MarkInputs(
    index_price=D(10_000),
    funding_rate=D(0),
    seconds_to_funding=D(1800),
    funding_interval=3600,
    band=D("0.01"),
)


def mark(**changes) -> Decimal:
    return mark_price(PLAIN._replace(**changes))


def test_before_the_first_funding_a_market_without_a_book_is_marked_at_its_index():
    assert mark() == D(10_000)


@pytest.mark.parametrize(
    ("rate", "seconds", "expected"),
    [
        ("0.001", "3600", "10010"),
        ("0.001", "1800", "10005"),
        ("0.001", "0", "10000"),
        ("-0.001", "1800", "9995"),
        ("0.0000125", "1", "10000.000034722222"),
    ],
)
def test_without_book_and_trades_the_mark_is_the_index_carried_to_the_next_funding(rate, seconds, expected):
    assert mark(funding_rate=D(rate), seconds_to_funding=D(seconds)) == D(expected)


def test_the_carried_index_is_not_rounded_before_the_median():
    assert str(funding_adjusted(D(1), D("0.0000125"), D(1), 3600)).startswith("1.000000003472222222222222")


@pytest.mark.parametrize(
    ("basis", "book", "rate", "expected"),
    [
        ("20", "10010", "0", "10010"),  # C2 between C3 and C1
        ("5", "10010", "0", "10005"),  # C1 in the middle
        ("-20", "10010", "0", "10000"),  # C3 in the middle
        ("20", "10010", "0.003", "10015"),  # C3 = 10015 in the middle
        ("0", "9990", "0", "10000"),  # C1 = C3
    ],
)
def test_with_both_votes_the_mark_is_the_median_of_three(basis, book, rate, expected):
    assert mark(basis_mean=D(basis), book_price=D(book), funding_rate=D(rate)) == D(expected)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        # I stands in for the missing one; C3 = 10005
        ({"book_price": D(10_003)}, "10003"),
        ({"book_price": D(10_030)}, "10005"),
        ({"book_price": D(9_990)}, "10000"),
        ({"basis_mean": D(3)}, "10003"),
        ({"basis_mean": D(30)}, "10005"),
        ({"basis_mean": D(-10)}, "10000"),
    ],
)
def test_the_index_takes_the_place_of_one_missing_vote(votes, expected):
    assert mark(**votes, funding_rate=D("0.001")) == D(expected)


@pytest.mark.parametrize(
    ("book", "expected"),
    [("10100", "10100"), ("10100.01", "10100"), ("9900", "9900"), ("9899.99", "9900"), ("20000", "10100")],
)
def test_the_mark_stays_in_its_band_both_edges_included(book, expected):
    assert mark(book_price=D(book), basis_mean=D(book) - 10_000) == D(expected)


def test_the_band_holds_for_funding_too():
    assert mark(funding_rate=D("0.5"), seconds_to_funding=D(3600)) == D(10_100)


def test_a_wider_band_lets_more_through():
    assert mark(book_price=D(10_200), basis_mean=D(200), band=D("0.02")) == D(10_200)


def test_the_mark_has_twelve_decimals():
    assert str(mark(index_price=D("0.000034866900"))) == "0.000034866900"
    assert str(mark(index_price=D(3), funding_rate=D("0.001"), seconds_to_funding=D(1))) == "3.000000833333"


@pytest.mark.parametrize(
    "field", ["index_price", "funding_rate", "seconds_to_funding", "band", "basis_mean", "book_price"]
)
def test_a_float_in_any_input_raises(field):
    inputs = PLAIN._replace(basis_mean=D(1), book_price=D(10_001), funding_rate=D("0.001"))
    with pytest.raises((TypeError, ArithmeticError)):
        mark_price(inputs._replace(**{field: 0.5}))
