"""The funding rate of an interval, method ``quantdesk``."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.funding import (
    LATE,
    LATE_SAMPLE,
    SETTLED,
    SKIPPED,
    FundingParameters,
    average_premium,
    boundary_at_or_before,
    funding_rate,
    is_interval,
    next_boundary,
    total_funding,
)
from quantdesk_oracle.pricing.settlement import BoundaryPrint, Interval, settle_interval

D = Decimal
HOUR, EIGHT_HOURS, DAY = 3600, 28_800, 86_400
HOURLY = FundingParameters(interval=HOUR, max_rate=D(1))
EIGHT_HOURLY = FundingParameters(interval=EIGHT_HOURS, max_rate=D(1))
BOUNDARY = 1_789_700_400 * SECOND
PRINT = BoundaryPrint(D(100), BOUNDARY // SECOND - 10, 447_956_893)


def samples(*premiums: str | None, status: str = "ok") -> list[PremiumSample]:
    return [
        PremiumSample(
            "SOL-PERP", BOUNDARY - HOUR * SECOND + n * 5 * SECOND, D(text) if text else None, status
        )
        for n, text in enumerate(premiums)
    ]


# ── The rate ─────────────────────────────────────────────────────────────────────────────────────


def test_a_premium_of_zero_pays_an_eighth_of_a_basis_point_an_hour():
    assert funding_rate(D(0), HOURLY) == D("0.0000125")


def test_over_eight_hours_a_premium_of_zero_pays_the_interest():
    assert funding_rate(D(0), EIGHT_HOURLY) == D("0.0001")


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        # interest − P within ±5 bp: the interest alone
        ("0.0001", "0.0001"),
        ("0.0006", "0.0001"),
        ("-0.0004", "0.0001"),
        # one digit beyond either edge: P less, or more, 5 bp
        ("0.000600000001", "0.000100000001"),
        ("-0.000400000001", "0.000099999999"),
        ("0.01", "0.0095"),
        ("-0.01", "-0.0095"),
        # both edges of the cap
        ("0.0405", "0.04"),
        ("0.040500000001", "0.04"),
        ("0.040499999999", "0.039999999999"),
        ("-0.0405", "-0.04"),
        ("-0.040500000001", "-0.04"),
        ("-0.040499999999", "-0.039999999999"),
    ],
)
def test_the_rate_of_eight_hours_follows_the_premium_beyond_five_basis_points(premium, rate):
    assert funding_rate(D(premium), EIGHT_HOURLY) == D(rate)


def test_longs_pay_when_the_market_is_above_its_index_and_receive_when_it_is_below():
    assert funding_rate(D("0.01"), HOURLY) > 0
    assert funding_rate(D("-0.01"), HOURLY) < 0


def test_the_rate_is_divided_by_eight_exactly_once():
    assert funding_rate(D("0.0085"), HOURLY) == D("0.001")


def test_the_cap_of_4_percent_comes_before_the_division():
    assert funding_rate(D("0.9"), HOURLY) == D("0.04") / 8
    assert funding_rate(D("-0.9"), HOURLY) == -D("0.04") / 8


def test_the_markets_own_cap_comes_after_the_division():
    capped = FundingParameters(interval=HOUR, max_rate=D("0.001"))
    assert funding_rate(D("0.0085"), capped) == D("0.001")
    assert funding_rate(D("0.008500000008"), capped) == D("0.001")
    assert funding_rate(D("0.0077"), capped) == D("0.0009")
    assert funding_rate(D("-0.9"), capped) == D("-0.001")


@pytest.mark.parametrize(
    ("interval", "rate"),
    [(5, "0.000000017361"), (30, "0.000000104167"), (14_400, "0.00005"), (DAY, "0.0003")],
)
def test_the_rate_is_proportional_to_its_interval(interval, rate):
    assert funding_rate(D(0), FundingParameters(interval=interval, max_rate=D(1))) == D(rate)


def test_interest_damping_and_cap_are_settings():
    parameters = FundingParameters(
        interval=EIGHT_HOURS, max_rate=D(1), interest=D("0.0003"), damping=D("0.0001"), cap=D("0.002")
    )
    assert funding_rate(D(0), parameters) == D("0.0001")
    assert funding_rate(D("0.0003"), parameters) == D("0.0003")
    assert funding_rate(D("0.5"), parameters) == D("0.002")


# ── The average ──────────────────────────────────────────────────────────────────────────────────


def test_the_average_of_a_whole_interval_is_its_mean():
    average = average_premium(samples(*["0.001", "0.002"] * 360), HOUR)
    assert average.premium == D("0.0015")
    assert (average.expected, average.used, average.unusable) == (720, 720, 0)
    assert (average.premium_sum, average.coverage) == (D("1.08"), D(1))


def test_samples_that_nobody_took_count_as_zero():
    average = average_premium(samples(*["0.002"] * 360), HOUR)
    assert (average.premium, average.coverage) == (D("0.001"), D("0.5"))


def test_samples_without_an_oracle_leave_the_divisor_and_lower_the_coverage():
    average = average_premium(samples(*["0.002"] * 360, *[None] * 360), HOUR)
    assert (average.premium, average.unusable, average.coverage) == (D("0.002"), 360, D("0.5"))


def test_an_interval_that_nobody_could_observe_has_no_average():
    average = average_premium(samples(*[None] * 6), 30)
    assert (average.premium, average.used, average.unusable, average.coverage) == (None, 0, 6, 0)


def test_an_interval_without_any_sample_averages_zero_at_no_coverage():
    average = average_premium([], HOUR)
    assert (average.premium, average.premium_sum, average.coverage) == (0, 0, 0)


def test_a_sample_that_came_late_is_neither_used_nor_unusable():
    late = samples("0.5", None, status=LATE_SAMPLE)
    assert average_premium(samples("0.001") + late, 5) == average_premium(samples("0.001"), 5)


def test_the_average_is_stored_with_twelve_decimals():
    average = average_premium(samples("0.000000000001", "0", "0"), 15)
    assert average.premium == 0
    assert average_premium(samples("0.000000000002", "0", "0"), 15).premium == D("0.000000000001")
    assert average_premium(samples("-0.000000000002", "0", "0"), 15).premium == D("-0.000000000001")


def test_a_float_among_the_premiums_raises():
    sample = PremiumSample("SOL-PERP", BOUNDARY, 0.001, "ok")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        average_premium([sample], HOUR)
    with pytest.raises(TypeError):
        funding_rate(0.001, HOURLY)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ArithmeticError)):
        funding_rate(D("0.9"), FundingParameters(interval=HOUR, max_rate=0.001))  # type: ignore[arg-type]
    for at in range(4):
        numbers = [D(3), D(1), D(100), D("0.001")]
        numbers[at] = 0.5  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            total_funding(*numbers)


# ── Skipping ─────────────────────────────────────────────────────────────────────────────────────


def settle(premiums, oracle=PRINT, *, late=False):
    interval = Interval("SOL-PERP", BOUNDARY, FundingParameters(interval=50, max_rate=D(1)))
    return settle_interval(interval, samples(*premiums), oracle, D(101), late=late)


def test_an_interval_of_exactly_half_coverage_is_settled_and_of_less_is_skipped():
    settled, skipped = settle(["0.002"] * 5), settle(["0.002"] * 4)
    assert (settled.status, settled.coverage, settled.reason) == (SETTLED, D("0.5"), None)
    assert settled.funding_rate == funding_rate(D("0.001"), FundingParameters(interval=50, max_rate=D(1)))
    assert (skipped.status, skipped.coverage, skipped.funding_rate) == (SKIPPED, D("0.4"), 0)
    assert skipped.reason


def test_unusable_samples_do_not_count_as_coverage():
    assert settle(["0.002"] * 4 + [None] * 6).status == SKIPPED
    assert settle(["0.002"] * 5 + [None] * 5).premium_index == D("0.002")


def test_an_interval_without_a_price_at_its_boundary_is_skipped():
    row = settle(["0.002"] * 10, oracle=None)
    assert (row.status, row.funding_rate, row.index_price) == (SKIPPED, 0, None)
    assert row.premium_index == D("0.002")
    assert row.reason


def test_an_interval_that_nobody_observed_is_skipped():
    assert settle([]).status == settle([None] * 10).status == SKIPPED


def test_an_interval_settled_after_an_outage_pays_the_same_and_says_that_it_is_late():
    row, late = settle(["0.002"] * 10), settle(["0.002"] * 10, late=True)
    assert (late.status, late.funding_rate, late.input_hash) == (LATE, row.funding_rate, row.input_hash)


def test_a_skipped_interval_is_skipped_whether_late_or_not():
    assert settle([], late=True).status == SKIPPED


# ── What is paid ─────────────────────────────────────────────────────────────────────────────────


def test_the_total_is_what_longs_pay_beyond_what_shorts_receive():
    assert total_funding(D(3), D(1), D(100), D("0.001")) == D("0.2")
    assert total_funding(D(1), D(3), D(100), D("0.001")) == D("-0.2")
    assert total_funding(D(3), D(1), D(100), D("-0.001")) == D("-0.2")
    assert total_funding(D(2), D(2), D(100), D("0.001")) == 0


def test_the_total_of_the_largest_sizes_that_columns_hold_keeps_every_digit():
    size, rate = D("99999999999999999999999999.999999999999"), D("999999999999.999999999999")
    exact = Fraction(size) ** 2 * Fraction(rate)
    assert abs(Fraction(total_funding(size, D(0), size, rate)) - exact) <= Fraction(1, 2 * 10**6)


def test_the_total_has_six_decimals_half_to_even():
    assert str(total_funding(D("0.0000005"), D(0), D(1), D(1))) == "0.000000"
    assert str(total_funding(D("0.0000015"), D(0), D(1), D(1))) == "0.000002"


# ── Boundaries ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("instant", "at_or_before", "after"),
    [
        (0, 0, HOUR),
        (1, 0, HOUR),
        (HOUR * SECOND - 1, 0, HOUR),
        (HOUR * SECOND, HOUR, 2 * HOUR),
        (HOUR * SECOND + 1, HOUR, 2 * HOUR),
        (-1, -HOUR, 0),
        (-HOUR * SECOND, -HOUR, 0),
        (-HOUR * SECOND - 1, -2 * HOUR, -HOUR),
    ],
)
def test_an_instant_on_a_boundary_belongs_to_the_interval_that_follows(instant, at_or_before, after):
    assert boundary_at_or_before(instant, HOUR) == at_or_before * SECOND
    assert next_boundary(instant, HOUR) == after * SECOND


@pytest.mark.parametrize("seconds", [5, 10, 30, 60, 300, 3600, 14_400, 28_800, 86_400])
def test_an_interval_is_a_multiple_of_5_that_divides_a_day(seconds):
    assert is_interval(seconds)


@pytest.mark.parametrize("seconds", [0, -5, 1, 4, 6, 7, 35, 7000, 86_405, 172_800])
def test_anything_else_is_no_interval(seconds):
    assert not is_interval(seconds)
