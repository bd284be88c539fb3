"""The funding rate of one interval from its premium samples, method ``quantdesk``.

    P  = Σ used / (expected − unusable)      samples that nobody took count as 0
    F8 = P + clamp(interest − P, ±damping)   capped at ±cap
    F  = F8 · T / 8 h                        capped at ±max_rate of the market

A positive rate means that longs pay shorts. Rates are fractions: 0.0001 is one basis point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.decimals import CONTEXT, TOTAL_QUANTUM, ZERO, clamp, quantise

SAMPLE_SECONDS = 5
EIGHT_HOURS = 8 * 3600
DAY = 24 * 3600
MAX_TOTAL_DIGITS = 120
"""Of a product of sizes, a price and a rate, each as long as its column allows."""
SETTLED = "settled"
LATE = "late"
SKIPPED = "skipped"
LATE_SAMPLE = "late"
"""The status of a sample that was written after its interval had been settled: never used."""

TUNABLE = ("interest", "damping", "cap", "min_coverage", "band", "impact_notional", "cap_factor")
"""Parameters that an operator may give a market; the others are columns of its row."""


@dataclass(frozen=True, slots=True)
class FundingParameters:
    """What an interval is settled by. Rates are fractions per eight hours, unless said otherwise."""

    interval: int
    """T, seconds: a multiple of 5 that divides a day."""
    max_rate: Decimal
    """Cap of the rate itself, a fraction per interval."""
    interest: Decimal = Decimal("0.0001")
    damping: Decimal = Decimal("0.0005")
    cap: Decimal = Decimal("0.04")
    min_coverage: Decimal = Decimal("0.5")
    version: int = 1
    method: str = "quantdesk"
    band: Decimal = Decimal("0.01")
    """How far a mark may leave the index, a fraction."""
    impact_notional: Decimal = Decimal(20_000)
    """Quote units that impact prices are for."""
    initial_margin: Decimal = Decimal(0)
    """A fraction of the notional; with the next two, only where the method's cap is made of margins."""
    maintenance_margin: Decimal = Decimal(0)
    cap_factor: Decimal = Decimal(0)


class Average(NamedTuple):
    """The samples of an interval, added up. ``premium`` is P, quantised; None where nothing was observable."""

    premium: Decimal | None
    premium_sum: Decimal
    expected: int
    used: int
    unusable: int
    coverage: Decimal


def boundary_at_or_before(instant: int, interval: int) -> int:
    """The newest boundary (µs) that is not after ``instant`` (µs), for an interval in seconds."""
    step = interval * SECOND
    return instant // step * step


def next_boundary(instant: int, interval: int) -> int:
    """The first boundary (µs) after ``instant`` (µs): an instant on a boundary belongs to what follows."""
    return boundary_at_or_before(instant, interval) + interval * SECOND


def average_premium(
    samples: Sequence[PremiumSample], interval: int, sample_seconds: int = SAMPLE_SECONDS
) -> Average:
    """Add up the samples of one interval of ``interval`` seconds; those that came late are passed over."""
    counted = in_time(samples)
    premiums = [sample.premium for sample in counted if sample.premium is not None]
    expected, used = interval // sample_seconds, len(premiums)
    unusable = len(counted) - used
    with localcontext(CONTEXT):
        total = sum(premiums, ZERO)
        observable = expected - unusable
        premium = quantise(total / observable) if observable > 0 else None
        coverage = quantise(Decimal(used) / expected)
    return Average(premium, quantise(total), expected, used, unusable, coverage)


def funding_rate(premium: Decimal, parameters: FundingParameters) -> Decimal:
    """F of an interval whose average premium is ``premium``; quantised as stored."""
    with localcontext(CONTEXT):
        eight_hours = clamp(damped(premium, parameters), -parameters.cap, parameters.cap)
        rate = eight_hours * parameters.interval / EIGHT_HOURS
        return quantise(clamp(rate, -parameters.max_rate, parameters.max_rate))


def damped(premium: Decimal, parameters: FundingParameters) -> Decimal:
    """P + clamp(interest − P, ±damping): a fraction per eight hours, uncapped, not quantised."""
    with localcontext(CONTEXT):
        pull = clamp(parameters.interest - premium, -parameters.damping, parameters.damping)
        return premium + pull


def total_funding(long_size: Decimal, short_size: Decimal, boundary_price: Decimal, rate: Decimal) -> Decimal:
    """What longs pay beyond what shorts receive, in quote units: (long − short) · price · rate.

    The largest sizes and prices that columns hold make more digits than the context's 50: those are kept too.
    """
    with localcontext(CONTEXT, prec=MAX_TOTAL_DIGITS):
        return ((long_size - short_size) * boundary_price * rate).quantize(TOTAL_QUANTUM)


def in_time(samples: Iterable[PremiumSample]) -> list[PremiumSample]:
    """The samples that count: not those that came after their interval had been settled."""
    return [sample for sample in samples if sample.status != LATE_SAMPLE]


def is_interval(seconds: int) -> bool:
    """Whether ``seconds`` may be a funding interval: a multiple of 5 that divides a day."""
    return seconds > 0 and seconds % SAMPLE_SECONDS == 0 and DAY % seconds == 0
