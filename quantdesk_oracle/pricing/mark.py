"""The mark price, method ``quantdesk``: the median of three votes in a band around the index.

    C1 = I + mean of (mid − I) over the last 150 s      missing without a two-sided book
    C2 = median(best bid, best ask, last trade)         missing without book and trade
    C3 = I · (1 + F_last · T_until / T)                 the index, carried to the next funding
    mark = clamp(median(C1, C2, C3), I · (1 − b), I · (1 + b))

I is the index, the price of the print in use; b the band, a fraction; T the funding interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.pricing.decimals import CONTEXT, clamp, quantise


class MarkInputs(NamedTuple):
    """Everything that the formula knows; all of it is stored in the mark's row."""

    index_price: Decimal
    funding_rate: Decimal
    """F_last, a fraction per interval."""
    seconds_to_funding: Decimal
    funding_interval: int
    """Seconds."""
    band: Decimal
    """b, a fraction."""
    basis_mean: Decimal | None = None
    book_price: Decimal | None = None
    """C2 as it comes out of book and trades."""
    last_trade: Decimal | None = None
    """The last trade, where it is young enough."""
    book_ema: Decimal | None = None
    """Moving average of C2, of methods that have one."""


def mark_price(inputs: MarkInputs) -> Decimal:
    """The mark, quantised as stored.

    One missing vote of C1 and C2 is taken by the index; with both missing the mark is C3.
    """
    with localcontext(CONTEXT):
        index = inputs.index_price
        carried = funding_adjusted(
            index, inputs.funding_rate, inputs.seconds_to_funding, inputs.funding_interval
        )
        if inputs.basis_mean is None and inputs.book_price is None:
            middle = carried
        else:
            first = index if inputs.basis_mean is None else index + inputs.basis_mean
            second = index if inputs.book_price is None else inputs.book_price
            middle = sorted((first, second, carried))[1]
        return quantise(clamp(middle, index * (1 - inputs.band), index * (1 + inputs.band)))


def funding_adjusted(
    index: Decimal, funding_rate: Decimal, seconds_to_funding: Decimal, funding_interval: int
) -> Decimal:
    """C3: the index with the funding that is still to be paid in this interval, not quantised."""
    with localcontext(CONTEXT):
        return index * (1 + funding_rate * seconds_to_funding / funding_interval)


def median(values: Sequence[Decimal]) -> Decimal:
    """The middle of ``values``, the mean of the two in the middle of an even number; not quantised.

    >>> median([Decimal(4), Decimal(1), Decimal(2)])
    Decimal('2')
    """
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    with localcontext(CONTEXT):
        return (ordered[middle - 1] + ordered[middle]) / 2
