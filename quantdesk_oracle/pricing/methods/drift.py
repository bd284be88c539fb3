"""Method ``drift``: the mark's time-weighted average against the oracle's, in whole numbers.

    spread = mark_twap − oracle_twap + oracle_twap / 5000, within ± oracle_twap / 33
    F      = spread / 24 an hour, as a fraction of oracle_twap

Prices have six decimals (e6), rates are quote per base with nine (e9); division truncates towards zero.
Source: drift-labs/protocol-v2, programs/drift/src/math/{funding,amm,stats,oracle,helpers}.rs. Here the averages
begin anew with each interval, so that a rate comes out of its own interval's samples. Interval 1 h.

>>> weighted_average(31_000_000, 33_990_000, 60, 3540)
33940167
>>> funding_rate_e9(32_481_415, 32_546_442, 3600, offset_denominator=0)
-2709458
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.decimals import CONTEXT, clamp, quantise
from quantdesk_oracle.pricing.funding import (
    SAMPLE_SECONDS,
    Average,
    FundingParameters,
    average_premium,
    in_time,
)
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.methods.whole import clamped, divide, whole
from quantdesk_oracle.pricing.premium import SampleInputs, premium_of_mark

BASIS_SECONDS = 150
AVERAGES = False
MARGINS = False
E6 = 1_000_000
PPM = 1_000_000
DAY = 86_400
OFFSET_DENOMINATOR = 5_000
DIVERGENCE_DENOMINATOR = 33
LEAST_DIVERGENCE_LIMIT = 100_000
"""ppm: a configured limit below 10 % counts as 10 %."""


def defaults(interval: int, max_rate: Decimal) -> FundingParameters:
    """``interest`` is the offset, a fraction of the oracle's average; ``cap`` the divergence, likewise."""
    return FundingParameters(
        interval=interval,
        max_rate=max_rate,
        interest=Decimal(1) / OFFSET_DENOMINATOR,
        damping=Decimal(0),
        cap=quantise(Decimal(1) / DIVERGENCE_DENOMINATOR),
        method="drift",
    )


def mark(inputs: MarkInputs) -> Decimal:
    """The book's price; the index where there is no book and no trade."""
    return quantise(inputs.index_price if inputs.book_price is None else inputs.book_price)


def premium(inputs: SampleInputs) -> Decimal:
    """(mark − I) / I: the averages are of the mark, whatever its depth."""
    return premium_of_mark(inputs.mark_price, inputs.index_price)


def weighted_average(first: int, second: int, first_weight: int, second_weight: int) -> int:
    """The average, without its fraction and moved by one towards the heavier product, as the program does it."""
    if first_weight == 0:
        return second
    if second_weight == 0:
        return first
    products = first * first_weight, second * second_weight
    average = divide(sum(products), first_weight + second_weight)
    if second_weight <= 1 or products[0] == products[1]:
        return average
    bias = 1 if products[1] > products[0] else -1
    return average if average == 0 and bias < 0 else average + bias


def new_twap(current: int, now: int, last_twap: int, last: int, period: int) -> int:
    """A time-weighted average over ``period`` seconds after ``current`` at ``now``."""
    since = max(0, now - last)
    return weighted_average(current, last_twap, since, max(1, period - since))


def oracle_twap(price: int, since: int, last_twap: int, period: int) -> int:
    """The oracle's average, e6, ``since`` seconds after the last update; a whole period forgets everything."""
    return weighted_average(price, last_twap, max(1, since), max(0, period - since))


def mark_twap(
    bid: int, ask: int, last_bid: int, last_ask: int, since: int, period: int
) -> tuple[int, int, int]:
    """The averages of best bid and best ask, and the middle between them; all e6."""
    bids, asks = new_twap(bid, since, last_bid, 0, period), new_twap(ask, since, last_ask, 0, period)
    return bids, asks, divide(bids + asks, 2)


def funding_rate_e9(
    mark: int,
    oracle: int,
    interval: int,
    *,
    offset_denominator: int = OFFSET_DENOMINATOR,
    divergence_denominator: int = DIVERGENCE_DENOMINATOR,
) -> int:
    """Quote per base (e9) of one interval from the two averages (e6). An offset denominator of 0 is no offset."""
    offset = divide(oracle, offset_denominator) if offset_denominator else 0
    limit = divide(oracle, divergence_denominator)
    return divide(clamped(mark - oracle + offset, -limit, limit) * 1_000, divide(DAY, interval))


def max_hourly_rate(divergence_denominator: int, periods_per_day: int) -> Decimal:
    """The highest rate of one period, a fraction."""
    with localcontext(CONTEXT):
        return Decimal(1) / divergence_denominator / periods_per_day


def normalised(price: int, confidence: int, reserve: int) -> int:
    """The oracle's price moved towards the reserve price by its confidence at most, stopping 1 bp short of it."""
    confidence, point = max(confidence, 1), divide(reserve, 10_000)
    if reserve > price:
        return min(max(reserve - point, price), price + confidence)
    return max(min(reserve + point, price), price - confidence)


def sanitised(price: int, last_twap: int, clamp_denominator: int) -> int:
    """A new price, at most ``last_twap / clamp_denominator`` away from the average."""
    if last_twap == 0:
        return price
    limit = abs(divide(last_twap, max(clamp_denominator, 1)))
    return clamped(price, last_twap - limit, last_twap + limit)


class Averages(NamedTuple):
    """The oracle's averages over the long and the short period, and the price last taken; e6."""

    long: int
    short: int
    price: int


def taken(
    before: Averages,
    price: int,
    confidence: int,
    reserve: int,
    since: int,
    periods: tuple[int, int],
    denominator: int,
) -> Averages:
    """The averages after one oracle price, normalised and sanitised."""
    new = sanitised(normalised(price, confidence, reserve), before.long, denominator)
    long, short = periods
    return Averages(
        oracle_twap(new, since, before.long, long), oracle_twap(new, since, before.short, short), new
    )


def divergence_ppm(mark: int, oracle_twap_5min: int) -> int:
    """How far the mark is from the oracle's five minutes, ppm of the mark."""
    return divide((mark - oracle_twap_5min) * PPM, mark)


def too_divergent(ppm: int, limit: int) -> bool:
    """Whether a divergence is beyond its limit, which is never below 10 %."""
    return abs(ppm) > max(limit, LEAST_DIVERGENCE_LIMIT)


class Validity(StrEnum):
    """What the program thinks of an oracle's price, the worst first."""

    NON_POSITIVE = "NonPositive"
    TOO_VOLATILE = "TooVolatile"
    TOO_UNCERTAIN = "TooUncertain"
    STALE_FOR_MARGIN = "StaleForMargin"
    STALE_FOR_AMM = "StaleForAMM"
    VALID = "Valid"


class GuardRails(NamedTuple):
    """Limits of the program's own acceptance: slots, ppm, a ratio."""

    slots_before_stale_for_amm: int
    slots_before_stale_for_margin: int
    confidence_interval_max_size: int
    too_volatile_ratio: int


def validity(price: int, confidence: int, delay: int, last_twap: int, rails: GuardRails) -> Validity:
    """The first check that a price fails, in the program's order; ``delay`` in slots."""
    if price <= 0:
        return Validity.NON_POSITIVE
    if divide(max(price, last_twap), max(1, min(price, last_twap))) > rails.too_volatile_ratio:
        return Validity.TOO_VOLATILE
    if divide(max(1, confidence) * PPM, price) > rails.confidence_interval_max_size:
        return Validity.TOO_UNCERTAIN
    if delay > rails.slots_before_stale_for_margin:
        return Validity.STALE_FOR_MARGIN
    if delay > rails.slots_before_stale_for_amm:
        return Validity.STALE_FOR_AMM
    return Validity.VALID


def wait_until_update(now: int, last: int, period: int) -> int:
    """Seconds until the next update: on the hour, but an update later than a third skips the next one."""
    delay = last % period
    wait = period if delay == 0 else (2 * period if delay > period // 3 else period) - delay
    return max(wait - (now - last), 0)


def average(samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
    """P: (mark_twap − oracle_twap) / oracle_twap over the samples of the interval that know their index."""
    plain = average_premium(samples, parameters.interval)
    twaps: tuple[int, int] | None = None
    last = 0
    for sample in sorted(in_time(samples), key=lambda each: each.instant):
        if sample.premium is None or sample.index_price is None:
            continue
        with localcontext(CONTEXT):
            oracle = whole(sample.index_price * E6)
            price = whole(sample.index_price * (1 + sample.premium) * E6)
        since = (sample.instant - last) // SECOND if twaps else SAMPLE_SECONDS
        before, period = twaps or (price, oracle), parameters.interval
        twaps = oracle_twap(price, since, before[0], period), oracle_twap(oracle, since, before[1], period)
        last = sample.instant
    if twaps is None or twaps[1] == 0:
        return plain._replace(premium=None)
    with localcontext(CONTEXT):
        return plain._replace(premium=quantise(Decimal(twaps[0] - twaps[1]) / twaps[1]))


def rate(premium: Decimal, parameters: FundingParameters, previous: Decimal = Decimal(0)) -> Decimal:
    """(P + offset) within the divergence, for its share of the day; a fraction."""
    del previous
    with localcontext(CONTEXT):
        spread = clamp(premium + parameters.interest, -parameters.cap, parameters.cap)
        return quantise(clamp(spread * parameters.interval / DAY, -parameters.max_rate, parameters.max_rate))
