"""The order book as pricing sees it: price levels, best first, and what they say.

>>> bids = (Level(Decimal(100), Decimal(1)), Level(Decimal(99), Decimal(10)))
>>> impact_price(bids, Decimal(1090))
Decimal('99.090909090909')
>>> Book(bids, (Level(Decimal(101), Decimal(2)),)).mid
Decimal('100.5')
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO, quantise

MAX_SPREAD = Decimal("0.02")
"""Spread, a fraction of the mid, above which a mid says nothing."""
TRADE_SECONDS = 60
"""Age above which the last trade is no vote."""


class Level(NamedTuple):
    """All live orders of one price: quote units, and their remaining size in base units."""

    price: Decimal
    size: Decimal


class Trade(NamedTuple):
    """The newest trade: quote units per base unit, and when (µs)."""

    price: Decimal
    instant: int


class Book(NamedTuple):
    """One market's live limit orders, as deep as the impact notional asks for, and its newest trade."""

    bids: tuple[Level, ...] = ()
    """Highest first."""
    asks: tuple[Level, ...] = ()
    """Lowest first."""
    last_trade: Trade | None = None

    @property
    def empty(self) -> bool:
        """Whether neither side has an order."""
        return not self.bids and not self.asks

    @property
    def crossed(self) -> bool:
        """Whether somebody bids what somebody else asks for, or more: a state that matching would end."""
        return bool(self.bids and self.asks) and self.bids[0].price >= self.asks[0].price

    @property
    def touch(self) -> tuple[Decimal, Decimal] | None:
        """Best bid and best ask; None for a one-sided or crossed book, which is none."""
        if not self.bids or not self.asks or self.crossed:
            return None
        return self.bids[0].price, self.asks[0].price

    @property
    def mid(self) -> Decimal | None:
        """The middle of the touch, exactly; None without one, and where the spread is too wide to mean anything."""
        if self.touch is None:
            return None
        bid, ask = self.touch
        with localcontext(CONTEXT):
            middle = (bid + ask) / 2
            return middle if ask - bid <= MAX_SPREAD * middle else None


def impact_price(levels: Sequence[Level], notional: Decimal) -> Decimal | None:
    """The average price of trading ``notional`` quote units through one side, quantised as stored.

    None where the side's depth does not suffice; the best price for a notional of zero.
    """
    if notional == 0:
        return quantise(levels[0].price) if levels else None
    base, left = ZERO, notional
    with localcontext(CONTEXT):
        for price, size in levels:
            value = price * size
            if value >= left:
                return quantise(notional / (base + left / price))
            base, left = base + size, left - value
    return None


def book_price(touch: tuple[Decimal, Decimal] | None, last_trade: Decimal | None) -> Decimal | None:
    """C2: the median of best bid, best ask and last trade; without a trade the mid, without a book the trade.

    >>> book_price((Decimal(99), Decimal(103)), Decimal(102))
    Decimal('102')
    """
    if touch is None:
        return last_trade
    with localcontext(CONTEXT):
        return sorted((*touch, last_trade))[1] if last_trade is not None else (touch[0] + touch[1]) / 2
