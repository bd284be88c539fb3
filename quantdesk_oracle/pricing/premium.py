"""The premium of the market over the index, sampled on a grid of five seconds."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO, quantised_fraction


def premium_of_mark(mark: Decimal, index: Decimal) -> Decimal:
    """(mark − I) / I, for a market with no book; quantised as stored."""
    with localcontext(CONTEXT):
        return quantised_fraction((mark - index) / index)


def premium_of_book(index: Decimal, impact_bid: Decimal | None, impact_ask: Decimal | None) -> Decimal:
    """(max(0, IB − I) − max(0, I − IA)) / I; quantised as stored.

    A side without the depth contributes nothing: an empty side must not set the rate.
    """
    with localcontext(CONTEXT):
        above = max(ZERO, impact_bid - index) if impact_bid is not None else ZERO
        below = max(ZERO, index - impact_ask) if impact_ask is not None else ZERO
        return quantised_fraction((above - below) / index)


class SampleInputs(NamedTuple):
    """What a sample is made of: a mark's row, and the book at its instant."""

    index_price: Decimal
    mark_price: Decimal
    impact_bid: Decimal | None
    impact_ask: Decimal | None
    has_book: bool
    """Whether any order was live; without one the premium is the mark's."""


def premium_of_sample(inputs: SampleInputs) -> Decimal:
    """The premium of the book where there is one, of the mark where there is none."""
    if not inputs.has_book:
        return premium_of_mark(inputs.mark_price, inputs.index_price)
    return premium_of_book(inputs.index_price, inputs.impact_bid, inputs.impact_ask)
