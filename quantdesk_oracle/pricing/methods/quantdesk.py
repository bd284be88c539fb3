"""Method ``quantdesk``, the default: three votes in a band, a simple mean of samples, damping towards 1 bp.

Mark: ``pricing.mark``; funding: ``pricing.funding``. Defaults: interest 0.0001, damping 0.0005, cap 0.04 on the
rate of eight hours, interval 1 h.

>>> from decimal import Decimal
>>> rate(Decimal(0), defaults(3600, Decimal(1)))  # a premium of zero still pays the interest
Decimal('0.000012500000')
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from quantdesk_oracle.model import PremiumSample
from quantdesk_oracle.pricing.funding import (
    Average,
    FundingParameters,
    average_premium,
    funding_rate,
)
from quantdesk_oracle.pricing.mark import MarkInputs, mark_price
from quantdesk_oracle.pricing.premium import SampleInputs, premium_of_sample

BASIS_SECONDS = 150
AVERAGES = False
MARGINS = False


def defaults(interval: int, max_rate: Decimal) -> FundingParameters:
    """Parameters of a market that gives none of its own; ``max_rate`` a fraction per interval."""
    return FundingParameters(interval=interval, max_rate=max_rate)


def mark(inputs: MarkInputs) -> Decimal:
    """The median of index + basis, book and funding-adjusted index, in the band."""
    return mark_price(inputs)


def premium(inputs: SampleInputs) -> Decimal:
    """Of the impact prices; of the mark where there is no book."""
    return premium_of_sample(inputs)


def average(samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
    """The simple mean of an interval's samples, those that nobody took counting as 0."""
    return average_premium(samples, parameters.interval)


def rate(premium: Decimal, parameters: FundingParameters, previous: Decimal = Decimal(0)) -> Decimal:
    """F of an interval from its average premium; the ``previous`` rate plays no part."""
    del previous
    return funding_rate(premium, parameters)
