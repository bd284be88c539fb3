"""The premium of the market over the index."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantdesk_oracle.pricing.methods import METHODS
from quantdesk_oracle.pricing.premium import SampleInputs, premium_of_book, premium_of_mark

D = Decimal


@pytest.mark.parametrize(
    ("bid", "ask", "premium"),
    [
        ("100.2", "100.4", "0.002"),  # both above: the bid's distance
        ("99.6", "99.8", "-0.002"),  # both below: the ask's
        ("99.8", "100.2", "0"),  # around the index
        ("100", "100", "0"),  # on it
        ("100.3", "99.9", "0.002"),  # crossed: both distances count
    ],
)
def test_the_premium_is_how_far_the_impact_prices_leave_the_index(bid, ask, premium):
    assert premium_of_book(D(100), D(bid), D(ask)) == D(premium)


@pytest.mark.parametrize(
    ("bid", "ask", "premium"),
    [
        (None, "99.8", "-0.002"),
        (None, "100.2", "0"),
        ("100.2", None, "0.002"),
        ("99.8", None, "0"),
        (None, None, "0"),
    ],
)
def test_a_side_without_the_depth_contributes_nothing(bid, ask, premium):
    assert premium_of_book(D(100), bid and D(bid), ask and D(ask)) == D(premium)


@pytest.mark.parametrize(
    ("mark", "premium"), [("100", "0"), ("100.5", "0.005"), ("99.5", "-0.005"), ("200", "1"), ("1", "-0.99")]
)
def test_without_a_book_the_premium_is_the_marks(mark, premium):
    assert premium_of_mark(D(mark), D(100)) == D(premium)


def test_a_premium_has_twelve_decimals_half_to_even():
    assert f"{premium_of_mark(D('3.000000000001'), D(3)):f}" == "0.000000000000"
    assert f"{premium_of_mark(D('2.000000000001'), D(2)):f}" == "0.000000000000"
    assert f"{premium_of_mark(D('2.000000000003'), D(2)):f}" == "0.000000000002"
    assert f"{premium_of_book(D(3), D(4), D(5)):f}" == "0.333333333333"


def test_a_float_in_any_input_raises():
    for arguments in ((1.5, D(1)), (D(1), 1.5), (1.5, 1.5)):
        with pytest.raises((TypeError, AttributeError)):
            premium_of_mark(*arguments)
    for arguments in ((100.0, D(100), D(100)), (D(100), 100.2, D(100)), (D(100), D(100), 99.8)):
        with pytest.raises(TypeError):
            premium_of_book(*arguments)


def test_an_absurd_order_makes_no_premium_that_the_table_refuses() -> None:
    bound = D("999999999999.999999999999")
    assert premium_of_book(D(1), D("1e25"), None) == bound
    assert premium_of_mark(D("1e25"), D("0.01")) == bound
    inputs = SampleInputs(D(1), D(1), impact_bid=D("1e25"), impact_ask=None, has_book=True)
    assert {method.premium(inputs) for method in METHODS.values()} <= {bound, D("999999999999.999999"), D(0)}
