"""What holds for every number: verdicts, marks and rates against fractions, which round nowhere."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from quantdesk_oracle.model import SECOND, PremiumSample, PriceUpdate, Reason, Verdict
from quantdesk_oracle.pricing.acceptance import StorageLimits, judge
from quantdesk_oracle.pricing.decimals import LARGEST_FRACTION
from quantdesk_oracle.pricing.funding import (
    LATE_SAMPLE,
    FundingParameters,
    average_premium,
    boundary_at_or_before,
    funding_rate,
    is_interval,
    next_boundary,
)
from quantdesk_oracle.pricing.mark import MarkInputs, mark_price
from quantdesk_oracle.pricing.premium import premium_of_book, premium_of_mark

QUANTUM = Fraction(1, 10**12)
HALF = QUANTUM / 2
INTERVALS = st.sampled_from([each for each in range(1, 86_401) if is_interval(each)])
LIMITS = st.builds(
    StorageLimits,
    future=st.just(5 * SECOND),
    accept_partial=st.just(False),
    uncertain_ppm=st.integers(0, 2_000_000),
    implausible_factor=st.integers(1, 100),
    quarantine_ppm=st.integers(0, 2_000_000),
    wide_ppm=st.integers(0, 2_000_000),
)
PRICES = st.one_of(st.integers(1, 10**6), st.integers(1, 2**63 - 1))


def decimals(low: str, high: str) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=12, allow_nan=False, allow_infinity=False)


INDEX = decimals("0.000001", "1000000000")
RATES = decimals("-1", "1")


@given(
    PRICES,
    st.one_of(st.integers(0, 10**6), st.integers(0, 2**64 - 1)),
    st.integers(0, 10**6) | PRICES,
    LIMITS,
)
def test_a_verdict_is_what_fractions_say(price, confidence, ema, limits):
    update = PriceUpdate(bytes(32), price, confidence, -8, 1_700_000_000, 0, ema, 0, 1)
    width = Fraction(confidence, price)
    distance = Fraction(abs(price - ema), ema) if ema else Fraction(0)
    factor = max(Fraction(price, ema), Fraction(ema, price)) if ema else Fraction(1)
    if width > Fraction(limits.uncertain_ppm, 10**6):
        expected = (Verdict.REJECTED, Reason.UNCERTAIN)
    elif factor > limits.implausible_factor:
        expected = (Verdict.REJECTED, Reason.IMPLAUSIBLE)
    elif distance > Fraction(limits.quarantine_ppm, 10**6):
        expected = (Verdict.QUARANTINED, Reason.QUARANTINED)
    elif width > Fraction(limits.wide_ppm, 10**6):
        expected = (Verdict.WIDE, Reason.WIDE)
    else:
        expected = (Verdict.ACCEPTED, None)
    assert judge(update, limits, now=1_700_000_000 * SECOND) == expected


@given(
    INDEX,
    decimals("-0.04", "0.04"),
    INTERVALS,
    st.fractions(0, 1),
    st.sampled_from(["0.01", "0.02"]).map(Decimal),
    st.none() | decimals("-1000", "1000"),
    st.none() | INDEX,
)
def test_a_mark_is_the_median_of_its_votes_in_its_band(index, rate, interval, left, band, basis, book):
    seconds = Decimal(int(left * interval * 10**6)).scaleb(-6)
    mark = mark_price(MarkInputs(index, rate, seconds, interval, band, basis, book))
    i = Fraction(index)
    carried = i * (1 + Fraction(rate) * Fraction(seconds) / interval)
    votes = [carried]
    if basis is not None or book is not None:
        votes += [i if basis is None else i + Fraction(basis), i if book is None else Fraction(book)]
    middle = sorted(votes)[len(votes) // 2]
    low, high = i * (1 - Fraction(band)), i * (1 + Fraction(band))
    assert abs(Fraction(mark) - min(max(middle, low), high)) <= HALF
    assert mark.as_tuple().exponent == -12


@given(decimals("-10", "10"), INTERVALS, decimals("0", "1"))
def test_a_rate_is_within_both_caps_and_half_a_digit_of_its_formula(premium, interval, max_rate):
    rate = funding_rate(premium, FundingParameters(interval=interval, max_rate=max_rate))
    p = Fraction(premium)
    damped = min(max(Fraction(1, 10_000) - p, Fraction(-5, 10_000)), Fraction(5, 10_000))
    eight_hours = min(max(p + damped, Fraction(-4, 100)), Fraction(4, 100))
    exact = eight_hours * interval / 28_800
    assert abs(Fraction(rate) - min(max(exact, -Fraction(max_rate)), Fraction(max_rate))) <= HALF
    assert abs(rate) <= max_rate
    assert rate.as_tuple().exponent == -12


@given(RATES, RATES, INTERVALS)
def test_a_higher_premium_never_pays_less(first, second, interval):
    parameters = FundingParameters(interval=interval, max_rate=Decimal(1))
    low, high = sorted((first, second))
    assert funding_rate(low, parameters) <= funding_rate(high, parameters)


@given(st.lists(st.none() | RATES, max_size=12), st.lists(st.none() | RATES, max_size=3), st.randoms())
def test_an_average_depends_on_the_samples_of_its_interval_and_on_nothing_else(premiums, late, rng):
    interval = 60
    rows = [PremiumSample("BTC-PERP", n * 5 * SECOND, premium, "ok") for n, premium in enumerate(premiums)]
    rows += [
        PremiumSample("BTC-PERP", n * 5 * SECOND, premium, LATE_SAMPLE) for n, premium in enumerate(late)
    ]
    shuffled = rng.sample(rows, len(rows))
    average = average_premium(shuffled, interval)
    used = [Fraction(premium) for premium in premiums if premium is not None]
    observable = 12 - (len(premiums) - len(used))
    assert (average.used, average.unusable) == (len(used), len(premiums) - len(used))
    assert Fraction(average.premium_sum) == sum(used)
    assert abs(Fraction(average.coverage) - Fraction(len(used), 12)) <= HALF
    if observable:
        assert average.premium is not None
        assert abs(Fraction(average.premium) - sum(used) / observable) <= HALF
    else:
        assert average.premium is None


def storable(premium: Fraction) -> Fraction:
    """A premium within what its column holds."""
    bound = Fraction(LARGEST_FRACTION)
    return max(-bound, min(bound, premium))


@given(INDEX, st.none() | INDEX, st.none() | INDEX)
def test_the_premium_of_a_book_mirrors_when_the_book_does(index, bid, ask):
    premium = premium_of_book(index, bid, ask)
    above = max(Fraction(0), Fraction(bid) - Fraction(index)) if bid is not None else 0
    below = max(Fraction(0), Fraction(index) - Fraction(ask)) if ask is not None else 0
    assert abs(Fraction(premium) - storable(Fraction(above - below) / Fraction(index))) <= HALF
    if bid is not None and ask is not None:
        mirrored = premium_of_book(index, 2 * index - ask, 2 * index - bid)
        assert mirrored == -premium


@given(INDEX, INDEX)
def test_the_premium_of_a_mark_is_zero_only_on_the_index(mark, index):
    premium = premium_of_mark(mark, index)
    assume(abs(mark - index) >= index * Decimal("1e-12"))
    assert (premium > 0) is (mark > index)
    assert abs(Fraction(premium) - storable(Fraction(mark - index) / Fraction(index))) <= HALF


@given(st.integers(-(2**62), 2**62), INTERVALS)
def test_every_instant_lies_in_exactly_one_interval(instant, interval):
    start, end = boundary_at_or_before(instant, interval), next_boundary(instant, interval)
    assert start <= instant < end
    assert end - start == interval * SECOND
    assert start % (interval * SECOND) == 0
