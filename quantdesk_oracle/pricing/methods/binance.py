"""Method ``binance``: the last trade is a vote, late samples weigh more, the cap is made of the maintenance margin.

    mark = median(I·(1 + F·T_until/T), I + mean of 30 × 1 s of (mid − I), last trade)
    P    = Σ i·P_i / Σ i                      i = 1 for the interval's first sample
    F    = (P + clamp(interest − P, ±damping)) / (8 / N), capped at ± factor · maintenance margin

Source: Binance, "Introduction to Binance Futures Funding Rates" and the rule of 2025-09-18 (division by 8/N).
Defaults: interest 0.0001, damping 0.0005, factor 0.75, interval N = 8 h.

>>> from decimal import Decimal
>>> from dataclasses import replace
>>> four_hours = replace(defaults(14_400, Decimal(1)), maintenance_margin=Decimal("0.01"))
>>> rate(Decimal("0.0021"), four_hours)
Decimal('0.000800000000')
>>> linear_weighted([Decimal("0.0001"), Decimal("0.0002"), Decimal("0.0003")])
Decimal('0.000233333333')
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO, clamp, quantise
from quantdesk_oracle.pricing.funding import (
    EIGHT_HOURS,
    SAMPLE_SECONDS,
    Average,
    FundingParameters,
    average_premium,
    damped,
    in_time,
)
from quantdesk_oracle.pricing.mark import MarkInputs, funding_adjusted, median
from quantdesk_oracle.pricing.premium import SampleInputs, premium_of_sample

BASIS_SECONDS = 30
AVERAGES = False
MARGINS = True


def defaults(interval: int, max_rate: Decimal) -> FundingParameters:
    """``max_rate``, a fraction per interval, holds besides the cap of the margin."""
    return FundingParameters(
        interval=interval, max_rate=max_rate, cap_factor=Decimal("0.75"), method="binance"
    )


def mark(inputs: MarkInputs) -> Decimal:
    """The median of the three; with no basis the index, with no trade the median of what is left."""
    carried = funding_adjusted(
        inputs.index_price, inputs.funding_rate, inputs.seconds_to_funding, inputs.funding_interval
    )
    return median_of(inputs.index_price, inputs.basis_mean, inputs.last_trade, carried)


def median_of(
    index: Decimal, basis: Decimal | None, last: Decimal | None, carried: Decimal | None
) -> Decimal:
    """The mark from its votes, quantised; ``carried`` (price 1) is price 2 where no funding is known."""
    with localcontext(CONTEXT):
        second = index if basis is None else index + basis
        votes = [second if carried is None else carried, second]
        return quantise(median(votes if last is None else [*votes, last]))


def premium(inputs: SampleInputs) -> Decimal:
    """Of the impact prices, as in ``quantdesk``."""
    return premium_of_sample(inputs)


def linear_weighted(premiums: Sequence[Decimal]) -> Decimal:
    """Σ i·P_i / Σ i over premiums in the order of their time, quantised."""
    with localcontext(CONTEXT):
        total = sum((n * each for n, each in enumerate(premiums, 1)), ZERO)
        return quantise(total / (len(premiums) * (len(premiums) + 1) // 2))


def average(samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
    """Weights by the sample's place in its interval: one not taken counts as 0, one without an oracle leaves."""
    plain = average_premium(samples, parameters.interval)
    counted = in_time(samples)
    if plain.premium is None or not counted:
        return plain
    step, span = SAMPLE_SECONDS * SECOND, parameters.interval * SECOND
    places = {sample.instant % span // step + 1: sample.premium for sample in counted}
    unusable = sum(place for place, premium in places.items() if premium is None)
    with localcontext(CONTEXT):
        total = sum((place * each for place, each in places.items() if each is not None), ZERO)
        weights = plain.expected * (plain.expected + 1) // 2 - unusable
        return plain._replace(premium=quantise(total / weights))


def rate(premium: Decimal, parameters: FundingParameters, previous: Decimal = Decimal(0)) -> Decimal:
    """(P + clamp(interest − P)) / (8 / N), capped at ± factor · maintenance margin."""
    del previous
    with localcontext(CONTEXT):
        uncapped = damped(premium, parameters) * parameters.interval / EIGHT_HOURS
        cap = min(parameters.cap_factor * parameters.maintenance_margin, parameters.max_rate)
        return quantise(clamp(uncapped, -cap, cap))
