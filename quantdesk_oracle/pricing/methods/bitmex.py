"""Method ``bitmex``: the fair price is the index with its funding; one premium a minute, capped by the margins.

    mark = I·(1 + F·T_until/T)
    P_i  = (max(0, IB − mark) − max(0, mark − IA)) / I + (mark − I) / I
    F    = P + clamp(interest − P, ±damping), capped at ± 0.75·(IM − MM), changed by at most 0.75·MM

Source: BitMEX, "Perpetual Contracts Guide" and "Fair Price Marking". Interest is (quote − base) / intervals a day:
(0.06 % − 0.03 %) / 3 = 1 bp by default. Damping 0.0005, factor 0.75, interval 8 h.

>>> from decimal import Decimal
>>> interest(Decimal("0.01"), Decimal("0.0025"), 3)
Decimal('0.0025')
>>> funding_cap(Decimal("0.75"), Decimal("0.01"), Decimal("0.005"))
Decimal('0.00375')
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO, clamp, quantise, quantised_fraction
from quantdesk_oracle.pricing.funding import (
    EIGHT_HOURS,
    SAMPLE_SECONDS,
    Average,
    FundingParameters,
    average_premium,
    damped,
)
from quantdesk_oracle.pricing.mark import MarkInputs, funding_adjusted
from quantdesk_oracle.pricing.premium import SampleInputs

BASIS_SECONDS = 150
AVERAGES = False
MARGINS = True
PREMIUM_SECONDS = 60


def defaults(interval: int, max_rate: Decimal) -> FundingParameters:
    """``max_rate``, a fraction per interval, holds besides the caps of the margins."""
    return FundingParameters(
        interval=interval, max_rate=max_rate, cap_factor=Decimal("0.75"), method="bitmex"
    )


def interest(quote_rate: Decimal, base_rate: Decimal, intervals_per_day: int) -> Decimal:
    """The interest of one interval from the two currencies' daily rates, fractions."""
    with localcontext(CONTEXT):
        return (quote_rate - base_rate) / intervals_per_day


def funding_cap(factor: Decimal, initial_margin: Decimal, maintenance_margin: Decimal) -> Decimal:
    """The highest rate of an interval, a fraction."""
    with localcontext(CONTEXT):
        return factor * (initial_margin - maintenance_margin)


def impact_notional(margin: Decimal, initial_margin: Decimal) -> Decimal:
    """The notional that ``margin`` carries at the market's initial margin."""
    with localcontext(CONTEXT):
        return margin / initial_margin


def mark(inputs: MarkInputs) -> Decimal:
    """The fair price: index and the funding still to be paid."""
    return quantise(
        funding_adjusted(
            inputs.index_price, inputs.funding_rate, inputs.seconds_to_funding, inputs.funding_interval
        )
    )


def premium(inputs: SampleInputs) -> Decimal:
    """How far the impact prices leave the fair price, and the fair basis on top; quantised."""
    bid, ask, fair, index = inputs.impact_bid, inputs.impact_ask, inputs.mark_price, inputs.index_price
    with localcontext(CONTEXT):
        above = ZERO if bid is None else max(ZERO, bid - fair)
        below = ZERO if ask is None else max(ZERO, fair - ask)
        return quantised_fraction((above - below + fair - index) / index)


def average(samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
    """The simple mean of the samples on whole minutes."""
    seconds = PREMIUM_SECONDS if parameters.interval % PREMIUM_SECONDS == 0 else SAMPLE_SECONDS
    of_minutes = [sample for sample in samples if sample.instant % (seconds * SECOND) == 0]
    return average_premium(of_minutes, parameters.interval, seconds)


def rate(premium: Decimal, parameters: FundingParameters, previous: Decimal = Decimal(0)) -> Decimal:
    """P damped towards the interest, within both caps; ``previous`` is the rate of the interval before."""
    with localcontext(CONTEXT):
        factor, maintenance = parameters.cap_factor, parameters.maintenance_margin
        cap = min(funding_cap(factor, parameters.initial_margin, maintenance), parameters.max_rate)
        change = factor * maintenance
        uncapped = damped(premium, parameters) * parameters.interval / EIGHT_HOURS
        near = clamp(uncapped, previous - change, previous + change)
        return quantise(clamp(near, -cap, cap))
