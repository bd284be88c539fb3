"""Worked cases that others have published, through the functions that the daemon calls.

Documentation, upstream tests, recorded exchange output: each case of the shared file names its source.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from itertools import chain, repeat
from typing import Any

import pytest

from quantdesk_oracle.pricing.book import Level
from quantdesk_oracle.pricing.decimals import scaled
from quantdesk_oracle.pricing.funding import FundingParameters, funding_rate
from quantdesk_oracle.pricing.mark import median
from quantdesk_oracle.pricing.methods import binance, bitmex, drift, dydx_v4, hyperliquid
from tests.vectors.shared import SHARED, needs

FILE = SHARED / "pricing-vectors" / "vectors.json"
UNCAPPED = Decimal(10)
Inputs = dict[str, Any]


def decimals(inputs: Inputs, *names: str) -> list[Decimal]:
    return [Decimal(inputs[name]) for name in names]


def optional(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def hourly_rate(inputs: Inputs) -> Decimal:
    parameters = FundingParameters(
        interval=28_800 // inputs["divisor"],
        max_rate=UNCAPPED,
        interest=Decimal(inputs["interest_8h"]),
        damping=Decimal(inputs["clamp_8h"]),
        cap=Decimal(inputs["cap_hourly"]),
        method="hyperliquid",
    )
    return hyperliquid.rate(Decimal(inputs["premium"]), parameters)


def eight_hour_rate(inputs: Inputs) -> Decimal:
    interest, damping = decimals(inputs, "interest", "clamp")
    parameters = FundingParameters(28_800, UNCAPPED, interest=interest, damping=damping, cap=UNCAPPED)
    return hyperliquid.rate(Decimal(inputs["premium"]), parameters)


def hyperliquid_mark(inputs: Inputs) -> Decimal:
    oracle, basis, book, external = decimals(inputs, "oracle", "ema_basis", "book_median", "external_median")
    return hyperliquid.median_of(oracle, basis, book, external=external)


def binance_mark(inputs: Inputs) -> Decimal:
    index, basis, last = decimals(inputs, "index", "ma_basis", "last")
    assert inputs["last_funding"] is None
    return binance.median_of(index, basis, last, None)


def binance_rate(inputs: Inputs) -> Decimal:
    interest, damping = decimals(inputs, "interest_8h", "clamp")
    parameters = FundingParameters(
        interval=inputs["interval_h"] * 3600,
        max_rate=UNCAPPED,
        interest=interest,
        damping=damping,
        maintenance_margin=Decimal(1),
        cap_factor=Decimal(1),
    )
    return binance.rate(Decimal(inputs["avg_premium"]), parameters)


def bitmex_cap_per_day(inputs: Inputs) -> list[Decimal]:
    cap = bitmex.funding_cap(*decimals(inputs, "factor", "initial_margin", "maintenance_margin"))
    return [cap * times for times in inputs["intervals_per_day"]]


def bitmex_interest(inputs: Inputs) -> Decimal:
    quote, base = decimals(inputs, "quote_rate_daily", "base_rate_daily")
    return bitmex.interest(quote, base, inputs["intervals_per_day"])


def dydx_premium(inputs: Inputs) -> int:
    bids, asks = (
        tuple(Level(Decimal(price), Decimal(size)) for price, size in inputs[side])
        for side in ("bids", "asks")
    )
    index, notional, step = decimals(inputs, "index", "impact_notional", "base_step")
    return dydx_v4.premium_ppm(bids, asks, index, notional, highest=inputs["max_abs_ppm"], base_step=step)


def dydx_sample(inputs: Inputs) -> int:
    return dydx_v4.sample_of_votes(
        inputs["votes_ppm"], inputs["num_premiums"], inputs["min_votes_per_sample"]
    )


def dydx_tick(inputs: Inputs) -> dict[str, int]:
    samples = list(chain.from_iterable(repeat(*each) for each in inputs["samples_ppm_rle"]))
    initial = inputs["initial_margin_ppm"]
    maintenance = initial * inputs["maintenance_fraction_ppm"] // dydx_v4.PPM
    cap = inputs["clamp_factor_ppm"] * (initial - maintenance) // dydx_v4.PPM
    rate = dydx_v4.funding_8h(samples, inputs["expected_samples"], cap, inputs["default_funding_ppm"])
    delta = dydx_v4.index_delta(
        rate,
        inputs["price"],
        inputs["price_exponent"],
        inputs["base_atomic_resolution"],
        inputs["tick_seconds"],
    )
    return {"rate_8h_ppm": rate, "index_delta": delta}


def drift_rate(inputs: Inputs) -> int:
    return drift.funding_rate_e9(
        inputs["mark_twap_e6"],
        inputs["oracle_twap_e6"],
        inputs["funding_period_s"],
        offset_denominator=inputs["offset_denominator"],
        divergence_denominator=inputs["max_divergence_denominator"],
    )


def drift_mark_twap(inputs: Inputs) -> dict[str, int]:
    names = ("bid_e6", "ask_e6", "last_bid_twap_e6", "last_ask_twap_e6", "since_s", "period_s")
    return dict(zip(("bid", "ask", "mid"), drift.mark_twap(*(inputs[name] for name in names)), strict=True))


def drift_walk(inputs: Inputs) -> dict[str, list[int]]:
    start = inputs["start_e6"]
    averages, found = drift.Averages(start, start, start), {}
    now = inputs["step_s"]  # of the first price
    periods = inputs["period_s"], inputs["short_period_s"]
    for hours in inputs["stop_before_hours"]:
        while now < hours * 3600:
            averages = drift.taken(
                averages,
                inputs["price_e6"],
                inputs["conf_e6"],
                inputs["reserve_e6"],
                inputs["step_s"],
                periods,
                inputs["clamp_denominator"],
            )
            now += inputs["step_s"]
        found[str(hours)] = list(averages)
    return found


def drift_divergence(inputs: Inputs) -> dict[str, Any]:
    ppm = drift.divergence_ppm(inputs["mark_e6"], inputs["oracle_twap_5min_e6"])
    return {"ppm": ppm, "too_divergent": drift.too_divergent(ppm, inputs["limit_ppm"])}


def drift_validity(inputs: Inputs) -> str:
    return drift.validity(
        inputs["price_e6"],
        inputs["conf_e6"],
        inputs["delay_slots"],
        inputs["last_twap_e6"],
        drift.GuardRails(**inputs["guard_rails"]),
    )


COMPUTED: dict[tuple[str, str], Callable[[Inputs], Any]] = {
    ("hyperliquid", "funding_rate_hourly"): hourly_rate,
    ("hyperliquid", "funding_rate_8h"): eight_hour_rate,
    ("hyperliquid", "mark_median"): hyperliquid_mark,
    ("hyperliquid", "median3"): lambda inputs: median([Decimal(each) for each in inputs["values"]]),
    ("binance", "mark_median_binance"): binance_mark,
    ("binance", "funding_rate_interval"): binance_rate,
    ("binance", "linear_weighted_premium"): lambda inputs: binance.linear_weighted(
        [Decimal(each) for each in inputs["premiums"]]
    ),
    ("bitmex", "cap_per_day"): bitmex_cap_per_day,
    ("bitmex", "funding_cap"): lambda inputs: bitmex.funding_cap(*decimals(inputs, "factor", "im", "mm")),
    ("bitmex", "impact_margin_notional"): lambda inputs: bitmex.impact_notional(
        *decimals(inputs, "margin_xbt", "initial_margin")
    ),
    ("bitmex", "interest_component"): bitmex_interest,
    ("bybit", "interest_component"): bitmex_interest,
    ("dydx_v4", "average_truncate"): lambda inputs: dydx_v4.whole.average(inputs["values"]),
    ("dydx_v4", "funding_cap_8h"): lambda inputs: dydx_v4.funding_cap(
        *decimals(inputs, "factor", "imf", "mmf")
    ),
    ("dydx_v4", "funding_tick"): dydx_tick,
    ("dydx_v4", "impact_notional"): lambda inputs: dydx_v4.impact_notional(
        *decimals(inputs, "base", "initial_margin_fraction")
    ),
    ("dydx_v4", "median_round_away_from_zero"): lambda inputs: dydx_v4.median(inputs["values"]),
    ("dydx_v4", "premium_ppm"): dydx_premium,
    ("dydx_v4", "premium_sample_from_votes"): dydx_sample,
    ("dydx_v4", "remove_sample_tails"): lambda inputs: dydx_v4.without_tails(
        inputs["samples"], inputs["removal_rate_ppm"]
    ),
    ("drift", "calculate_new_twap"): lambda inputs: drift.new_twap(
        *(inputs[name] for name in ("current", "now", "last_twap", "last_ts", "period"))
    ),
    ("drift", "funding_rate_quote_per_base_e9"): drift_rate,
    ("drift", "mark_oracle_5min_divergence"): drift_divergence,
    ("drift", "mark_twap"): drift_mark_twap,
    ("drift", "max_hourly_rate"): lambda inputs: drift.max_hourly_rate(
        inputs["divergence_denominator"], inputs["periods_per_day"]
    ),
    ("drift", "normalise_oracle_price"): lambda inputs: drift.normalised(
        *(inputs[name] for name in ("price_e6", "conf_e6", "reserve_e6"))
    ),
    ("drift", "on_the_hour_wait_s"): lambda inputs: drift.wait_until_update(
        *(inputs[name] for name in ("now", "last", "period"))
    ),
    ("drift", "oracle_twap"): lambda inputs: drift.oracle_twap(
        *(inputs[name] for name in ("price_e6", "since_last_s", "last_twap_e6", "period_s"))
    ),
    ("drift", "oracle_twap_sanitized_walk"): drift_walk,
    ("drift", "oracle_validity"): drift_validity,
    ("oracle", "pyth_decimal"): lambda inputs: {
        "price": scaled(inputs["price"], inputs["expo"]),
        "conf": scaled(inputs["conf"], inputs["expo"]),
    },
}
OURS = {"quantdesk", "hyperliquid", "binance", "bitmex", "dydx_v4", "drift"}


def every_vector() -> list[dict[str, Any]]:
    return json.loads(FILE.read_text())["vectors"] if FILE.exists() else []


def key(vector: dict[str, Any]) -> tuple[str, str]:
    return vector["method"], vector["function"]


@pytest.mark.shared
@needs("pricing-vectors")
@pytest.mark.parametrize(
    "vector", [pytest.param(each, id=each["id"]) for each in every_vector() if key(each) in COMPUTED]
)
def test_a_published_case_comes_out_as_published(vector):
    computed, expected = COMPUTED[key(vector)](vector["inputs"]), vector["expected"]
    if not isinstance(expected, str) or expected.isalpha():
        assert plain(computed) == plain(expected)
        return
    places = Decimal(expected)  # a documentation rounds: as many digits as it gives
    if "tolerance" not in vector:
        computed = computed.quantize(places) if computed.as_tuple().exponent < -12 else computed
    assert abs(computed - places) <= Decimal(vector.get("tolerance", "0"))


def plain(value: Any) -> Any:
    """Numbers of every kind in one, so that "0.045" equals Decimal("0.0450")."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return Decimal(value) if isinstance(value, (str, Decimal)) and str(value)[-1].isdigit() else value


@pytest.mark.shared
@needs("pricing-vectors")
def test_no_published_case_of_our_methods_is_left_out():
    assert {key(each) for each in every_vector() if each["method"] in OURS} <= COMPUTED.keys()


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        ("-0.0005591732", "-0.0000073966"),
        ("-0.0020076087", "-0.0001884511"),
        ("-0.0002290303", "0.0000125"),
    ],
)
def test_recorded_hourly_rates_of_hyperliquid_are_ours_below_the_cap(premium, rate):
    ours = funding_rate(Decimal(premium), FundingParameters(interval=3600, max_rate=Decimal("0.04")))
    assert abs(ours - Decimal(rate)) <= Decimal("1e-10")
