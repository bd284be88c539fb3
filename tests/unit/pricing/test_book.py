"""The book: touch, mid, impact prices, and what is none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantdesk_oracle.pricing.book import Book, Level, book_price, impact_price

D = Decimal


def levels(*pairs: tuple[object, object]) -> tuple[Level, ...]:
    return tuple(Level(D(str(price)), D(str(size))) for price, size in pairs)


@pytest.mark.parametrize(
    ("bids", "asks", "touch", "mid"),
    [
        (levels((99, 1)), levels((101, 1)), (D(99), D(101)), D(100)),
        (levels((99, 1)), (), None, None),
        ((), levels((101, 1)), None, None),
        ((), (), None, None),
        (levels((102, 1)), levels((101, 1)), None, None),
        (levels((101, 1)), levels((101, 1)), None, None),
        (levels((99, 1)), levels(("101.01", 1)), (D(99), D("101.01")), None),  # 2.0099 % of the mid
    ],
)
def test_a_one_sided_or_crossed_book_is_none_and_a_wide_one_has_no_mid(bids, asks, touch, mid):
    book = Book(bids, asks)
    assert (book.touch, book.mid) == (touch, mid)


@pytest.mark.parametrize(
    ("notional", "price"),
    [
        ("0", "100"),
        ("50", "100"),
        ("100", "100"),  # the level's exact depth
        ("199", "99.5"),  # exactly both
        ("150", "99.664429530201"),
        ("199.000000000001", None),
    ],
)
def test_an_impact_price_is_the_average_of_trading_the_notional_through_the_side(notional, price):
    side = levels((100, 1), (99, 1))
    assert impact_price(side, D(notional)) == (None if price is None else D(price))


def test_an_empty_side_has_no_impact_price():
    assert impact_price((), D(0)) is None
    assert impact_price((), D(1)) is None


@pytest.mark.parametrize(
    ("touch", "last", "price"),
    [
        ((99, 101), 100, 100),
        ((99, 101), 105, 101),
        ((99, 101), 95, 99),
        ((99, 101), None, 100),
        (None, 105, 105),
        (None, None, None),
    ],
)
def test_the_books_price_is_the_median_of_bid_ask_and_last_trade(touch, last, price):
    edges = None if touch is None else (D(touch[0]), D(touch[1]))
    expected = None if price is None else D(price)
    assert book_price(edges, None if last is None else D(last)) == expected
