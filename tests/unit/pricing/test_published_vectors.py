"""Worked cases that others have published: documentation, upstream tests, recorded exchange output."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from quantdesk_oracle.pricing.decimals import scaled
from quantdesk_oracle.pricing.funding import FundingParameters, funding_rate
from quantdesk_oracle.pricing.mark import MarkInputs, mark_price
from tests.vectors.shared import SHARED, needs

EIGHT_HOURS = 28_800
UNCAPPED = Decimal(10)
FILE = SHARED / "pricing-vectors" / "vectors.json"


def hourly_rate(inputs: dict[str, Any]) -> Decimal:
    """Hyperliquid's: as ``quantdesk``, with the cap after the division instead of before."""
    parameters = FundingParameters(
        interval=EIGHT_HOURS // inputs["divisor"],
        max_rate=Decimal(inputs["cap_hourly"]),
        interest=Decimal(inputs["interest_8h"]),
        damping=Decimal(inputs["clamp_8h"]),
        cap=UNCAPPED,
    )
    return funding_rate(Decimal(inputs["premium"]), parameters)


def eight_hour_rate(inputs: dict[str, Any]) -> Decimal:
    parameters = FundingParameters(
        interval=EIGHT_HOURS,
        max_rate=UNCAPPED,
        interest=Decimal(inputs["interest"]),
        damping=Decimal(inputs["clamp"]),
        cap=UNCAPPED,
    )
    return funding_rate(Decimal(inputs["premium"]), parameters)


def median_mark(inputs: dict[str, Any]) -> Decimal:
    """Their external price takes the place of the carried index: the same at a funding rate of zero."""
    assert inputs["external_median"] == inputs["oracle"]
    votes = MarkInputs(
        index_price=Decimal(inputs["oracle"]),
        funding_rate=Decimal(0),
        seconds_to_funding=Decimal(0),
        funding_interval=3600,
        band=Decimal(1),
        basis_mean=Decimal(inputs["ema_basis"]),
        book_price=Decimal(inputs["book_median"]),
    )
    return mark_price(votes)


def pyth_price(inputs: dict[str, Any]) -> Decimal:
    return scaled(int(inputs["price"]), inputs["expo"])


COMPUTED: dict[tuple[str, str], Callable[[dict[str, Any]], Decimal]] = {
    ("hyperliquid", "funding_rate_hourly"): hourly_rate,
    ("hyperliquid", "funding_rate_8h"): eight_hour_rate,
    ("hyperliquid", "mark_median"): median_mark,
    ("oracle", "pyth_decimal"): pyth_price,
    ("oracle", "pyth_conf_ratio_bps"): pyth_price,
}


def vectors() -> list[Any]:
    every = json.loads(FILE.read_text())["vectors"] if FILE.exists() else []
    return [
        pytest.param(vector, id=vector["id"])
        for vector in every
        if (vector["method"], vector["function"]) in COMPUTED
    ]


@pytest.mark.shared
@needs("pricing-vectors")
@pytest.mark.parametrize("vector", vectors())
def test_a_published_case_comes_out_as_published(vector):
    expected = vector["expected"]
    value = Decimal(expected["price"] if isinstance(expected, dict) else expected)
    computed = COMPUTED[vector["method"], vector["function"]](vector["inputs"])
    assert abs(computed - value) <= Decimal(vector.get("tolerance", "0"))


@pytest.mark.shared
@needs("pricing-vectors")
def test_every_published_case_that_these_functions_can_compute_is_among_them():
    assert len(vectors()) >= 46
    assert {(each.values[0]["method"], each.values[0]["function"]) for each in vectors()} == COMPUTED.keys()


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
