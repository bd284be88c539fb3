"""Method ``dydx_v4``: the mark is the oracle; votes of a minute make a sample, samples an hourly mean, in whole ppm.

    vote   = (max(0, IB − I) − max(0, I − IA)) / I in ppm, without its fraction
    sample = median of a minute's votes, missing ones counting as 0, halves away from zero
    F8     = mean of the samples, missing ones counting as 0, without its fraction; ± 6·(IM − MM)
    F      = F8 · T / 8 h

Source: dydxprotocol/v4-chain, protocol/x/perpetuals and x/clob (memclob), protocol/lib/math.go.
Defaults: no interest, factor 6, interval 1 h.

>>> median([5, 11, 1, 3, 12, 50]), median([-6, -12, -1, -3, -12, -50])
(8, -9)
>>> sample_of_votes([51, 51, -100, -100], 4, 1)
-25
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_UP, Decimal, localcontext

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.book import Level
from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO, clamp, quantise
from quantdesk_oracle.pricing.funding import (
    EIGHT_HOURS,
    SAMPLE_SECONDS,
    Average,
    FundingParameters,
    average_premium,
    in_time,
)
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.methods import whole
from quantdesk_oracle.pricing.premium import SampleInputs, premium_of_book

BASIS_SECONDS = 150
AVERAGES = False
MARGINS = True
PPM = 1_000_000
MINUTE = 60


def defaults(interval: int, max_rate: Decimal) -> FundingParameters:
    """``max_rate``, a fraction per interval, holds besides the cap of the margins."""
    return FundingParameters(
        interval=interval,
        max_rate=max_rate,
        interest=Decimal(0),
        damping=Decimal(0),
        cap_factor=Decimal(6),
        method="dydx_v4",
    )


def mark(inputs: MarkInputs) -> Decimal:
    """The oracle's price."""
    return quantise(inputs.index_price)


def premium(inputs: SampleInputs) -> Decimal:
    """A vote: whole parts per million, as a fraction. An empty book votes 0."""
    exact = premium_of_book(inputs.index_price, inputs.impact_bid, inputs.impact_ask)
    with localcontext(CONTEXT):
        return quantise(Decimal(whole.whole(exact * PPM)) / PPM)


def premium_ppm(
    bids: Sequence[Level],
    asks: Sequence[Level],
    index: Decimal,
    notional: Decimal,
    *,
    highest: int,
    base_step: Decimal,
) -> int:
    """A vote straight from the book, clamped to ± ``highest`` ppm. ``base_step`` is the smallest size."""
    bid, ask = _impact(bids, notional, base_step), _impact(asks, notional, base_step)
    with localcontext(CONTEXT):
        above = ZERO if bid is None else max(ZERO, bid - index)
        below = ZERO if ask is None else max(ZERO, index - ask)
        return whole.clamped(whole.whole((above - below) / index * PPM), -highest, highest)


def _impact(levels: Sequence[Level], notional: Decimal, base_step: Decimal) -> Decimal | None:
    """The impact price, exactly: the base of the last level rounded up to ``base_step``."""
    if notional == 0:
        return levels[0].price if levels else None
    base, left = ZERO, notional
    with localcontext(CONTEXT):
        for price, size in levels:
            if price * size >= left:
                return notional / (base + (left / price).quantize(base_step, ROUND_UP))
            base, left = base + size, left - price * size
    return None


def median(values: Sequence[int]) -> int:
    """The middle; of an even number the mean of the two in the middle, halves away from zero."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    total = ordered[half - 1] + ordered[half]
    return whole.divide(total + (1 if total > 0 else -1), 2) if total % 2 else total // 2


def sample_of_votes(votes: Sequence[int], expected: int, fewest: int) -> int:
    """A premium sample, ppm: votes that nobody gave count as 0, up to the larger of ``expected`` and ``fewest``."""
    return median([*votes, *[0] * (max(expected, fewest) - len(votes))])


def without_tails(samples: Sequence[int], removed_ppm: int) -> list[int]:
    """Samples without the lowest and highest share; all of them, as they are, where nothing would be left."""
    product = len(samples) * removed_ppm
    bottom, top = product // PPM, -(-product // PPM)
    if bottom + top >= len(samples):
        return list(samples)
    return sorted(samples)[bottom : len(samples) - top]


def funding_8h(samples: Sequence[int], expected: int, cap_ppm: int, default_ppm: int = 0) -> int:
    """F8 in ppm: the mean of ``samples`` padded with zeros to ``expected``, plus the default, in the cap."""
    padded = [*samples, *[0] * (expected - len(samples))]
    return whole.clamped(whole.average(padded) + default_ppm, -cap_ppm, cap_ppm)


def index_delta(rate_8h_ppm: int, price: int, price_exponent: int, base_resolution: int, seconds: int) -> int:
    """What a tick adds to the funding index: ppm · quote quantums (1e-6) per base quantum, without its fraction."""
    with localcontext(CONTEXT):
        per_quantum = Decimal(price).scaleb(price_exponent + 6 + base_resolution)
        return whole.whole(rate_8h_ppm * per_quantum * seconds / EIGHT_HOURS)


def funding_cap(factor: Decimal, initial_margin: Decimal, maintenance_margin: Decimal) -> Decimal:
    """The highest rate of eight hours, a fraction.

    >>> funding_cap(Decimal(6), Decimal("0.05"), Decimal("0.03"))
    Decimal('0.12')
    """
    with localcontext(CONTEXT):
        return factor * (initial_margin - maintenance_margin)


def impact_notional(base: Decimal, initial_margin: Decimal) -> Decimal:
    """The notional that ``base`` quote units carry at the market's initial margin."""
    with localcontext(CONTEXT):
        return base / initial_margin


def average(samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
    """The mean of the minutes' medians; a minute in which the oracle was never fresh leaves the divisor."""
    plain = average_premium(samples, parameters.interval)
    span = min(MINUTE, parameters.interval)
    minutes: dict[int, list[Decimal | None]] = {}
    for sample in in_time(samples):
        minutes.setdefault(sample.instant // (span * SECOND), []).append(sample.premium)
    votes, blind = [], 0
    for premiums in minutes.values():
        unusable = sum(each is None for each in premiums)
        expected = span // SAMPLE_SECONDS - unusable
        blind += expected == 0
        if expected > 0:
            given = [whole.whole(each * PPM) for each in premiums if each is not None]
            votes.append(sample_of_votes(given, expected, 1))
    observable = parameters.interval // span - blind
    if plain.premium is None or observable <= 0:
        return plain._replace(premium=None)
    with localcontext(CONTEXT):
        mean = funding_8h(votes, observable, PPM * PPM)
        return plain._replace(premium=quantise(Decimal(mean) / PPM))


def rate(premium: Decimal, parameters: FundingParameters, previous: Decimal = Decimal(0)) -> Decimal:
    """F8 in its cap, times T / 8 h."""
    del previous
    with localcontext(CONTEXT):
        cap = funding_cap(parameters.cap_factor, parameters.initial_margin, parameters.maintenance_margin)
        uncapped = clamp(premium, -cap, cap) * parameters.interval / EIGHT_HOURS
        return quantise(clamp(uncapped, -parameters.max_rate, parameters.max_rate))
