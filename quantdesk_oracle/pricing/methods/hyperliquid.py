"""Method ``hyperliquid``: moving averages of basis and book; the cap is on the hourly rate, after the division by 8.

Source: Hyperliquid documentation, "Robust price indices" and "Funding"; recorded fundingHistory of its API.
Theirs has a third vote, the median of other exchanges' perpetuals: where it is missing, as here always, the
moving average of the second takes its place.
Defaults: interest 0.0001, damping 0.0005 (per 8 h), cap 0.04 an hour, interval 1 h.

>>> from decimal import Decimal
>>> rate(Decimal("-0.0005591732"), defaults(3600, Decimal("0.04")))
Decimal('-0.000007396650')
>>> median_of(Decimal(10_000), Decimal(20), Decimal(10_010), external=Decimal(10_000))
Decimal('10010.000000000000')
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

from quantdesk_oracle.model import PremiumSample
from quantdesk_oracle.pricing.decimals import CONTEXT, clamp, quantise
from quantdesk_oracle.pricing.funding import (
    EIGHT_HOURS,
    Average,
    FundingParameters,
    average_premium,
    damped,
)
from quantdesk_oracle.pricing.mark import MarkInputs, median
from quantdesk_oracle.pricing.premium import SampleInputs, premium_of_sample

BASIS_SECONDS = 150
BOOK_SECONDS = 30
AVERAGES = True
MARGINS = False
HOURLY_CAP = Decimal("0.04")


def defaults(interval: int, max_rate: Decimal) -> FundingParameters:
    """``cap`` is per hour here; ``max_rate``, a fraction per interval, holds besides."""
    return FundingParameters(interval=interval, max_rate=max_rate, cap=HOURLY_CAP, method="hyperliquid")


def mark(inputs: MarkInputs) -> Decimal:
    """The median of what is there of the votes; the index where nothing is. ``basis_mean`` is the moving average."""
    return median_of(inputs.index_price, inputs.basis_mean, inputs.book_price, book_ema=inputs.book_ema)


def median_of(
    index: Decimal,
    basis: Decimal | None,
    book: Decimal | None,
    *,
    book_ema: Decimal | None = None,
    external: Decimal | None = None,
) -> Decimal:
    """The mark from its votes, quantised: exactly two of them are joined by the book's moving average."""
    with localcontext(CONTEXT):
        votes = [None if basis is None else index + basis, book, external]
        there = [vote for vote in votes if vote is not None]
        if len(there) == 2 and book_ema is not None:
            there.append(book_ema)
        return quantise(median(there) if there else index)


def premium(inputs: SampleInputs) -> Decimal:
    """Of the impact prices, as in ``quantdesk``."""
    return premium_of_sample(inputs)


def average(samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
    """The simple mean, as in ``quantdesk``."""
    return average_premium(samples, parameters.interval)


def rate(premium: Decimal, parameters: FundingParameters, previous: Decimal = Decimal(0)) -> Decimal:
    """(P + clamp(interest − P)) · T / 8 h, then capped at 4 % an hour."""
    del previous
    with localcontext(CONTEXT):
        uncapped = damped(premium, parameters) * parameters.interval / EIGHT_HOURS
        cap = min(parameters.cap * parameters.interval / 3600, parameters.max_rate)
        return quantise(clamp(uncapped, -cap, cap))
