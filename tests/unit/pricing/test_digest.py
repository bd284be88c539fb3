"""Every digit of a row counts in its digest, and nothing else does."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from decimal import Decimal

import pytest

from quantdesk_oracle.model import SECOND, Freshness, FundingRate, MarkPrice, PremiumSample
from quantdesk_oracle.pricing.digest import input_hash, line, mark_digest
from quantdesk_oracle.pricing.funding import LATE_SAMPLE, FundingParameters

D = Decimal
BOUNDARY = 1_768_003_200 * SECOND
EDGE = D("0.000000000001")
MARK = MarkPrice(
    market="BTC-PERP",
    instant=BOUNDARY,
    mark_price=D("100.5"),
    index_price=D(100),
    publish_time=1_768_003_199,
    slot=7,
    funding_rate=D("0.0001"),
    seconds_to_funding=D("12.5"),
    funding_interval=3_600,
    method="hyperliquid",
    parameter_version=2,
    status=Freshness.FRESH,
    best_bid=D(99),
    best_ask=D(101),
    last_trade_price=D("100.2"),
    last_trade_at=BOUNDARY - SECOND,
    basis_sum=D("0.25"),
    basis_count=3,
    basis_mean=D("0.083333333333"),
    ema_state='{"at": "1", "basis": ["2", "3"]}',
)
RATE = FundingRate(
    market="BTC-PERP",
    boundary=BOUNDARY,
    funding_rate=D("0.0001"),
    premium_index=D("0.0002"),
    index_price=D(100),
    publish_time=1_768_003_199,
    slot=7,
    mark_price=D("100.5"),
    premium_sum=D("0.0004"),
    samples_expected=2,
    samples_used=2,
    samples_unusable=0,
    coverage=D(1),
    funding_interval=10,
    method="quantdesk",
    parameter_version=1,
    status="settled",
    reason=None,
    input_hash="",
    long_size=D(3),
    short_size=D(1),
)
PARAMETERS = FundingParameters(interval=10, max_rate=D("0.01"))
SAMPLE = PremiumSample(
    market="BTC-PERP",
    instant=BOUNDARY - 5 * SECOND,
    premium=D("0.0002"),
    status="used",
    index_price=D(100),
    publish_time=1_768_003_190,
    slot=6,
    mark_instant=BOUNDARY - 5 * SECOND,
    impact_bid=D("99.5"),
    impact_ask=D("100.6"),
)


def changed(value):
    """The same by its last digit: a different value of the same kind."""
    if isinstance(value, D):
        return value + EDGE
    if isinstance(value, Freshness):
        return Freshness.STALE
    return value + 1 if isinstance(value, int) else value.replace("2", "4") if "2" in value else value + "x"


@pytest.mark.parametrize("name", [each.name for each in fields(MarkPrice) if each.name != "market"])
def test_each_field_of_a_mark_counts_by_its_last_digit(name):
    assert mark_digest(replace(MARK, **{name: changed(getattr(MARK, name))})) != mark_digest(MARK)


@pytest.mark.parametrize("name", [each.name for each in fields(PremiumSample) if each.name != "market"])
def test_each_field_of_a_sample_counts_by_its_last_digit(name):
    other = replace(SAMPLE, **{name: changed(getattr(SAMPLE, name))})
    assert input_hash(RATE, [other], PARAMETERS) != input_hash(RATE, [SAMPLE], PARAMETERS)


@pytest.mark.parametrize("name", [each.name for each in fields(FundingParameters)])
def test_each_parameter_counts_by_its_last_digit(name):
    other = replace(PARAMETERS, **{name: changed(getattr(PARAMETERS, name))})
    assert input_hash(RATE, [SAMPLE], other) != input_hash(RATE, [SAMPLE], PARAMETERS)


@pytest.mark.parametrize(
    "name", ["boundary", "index_price", "publish_time", "slot", "mark_price", "long_size", "short_size"]
)
def test_each_input_in_the_rates_own_row_counts_by_its_last_digit(name):
    other = replace(RATE, **{name: changed(getattr(RATE, name))})
    assert input_hash(other, [SAMPLE], PARAMETERS) != input_hash(RATE, [SAMPLE], PARAMETERS)


def test_trailing_zeros_the_order_of_arrival_and_late_samples_do_not_count():
    second = replace(SAMPLE, instant=BOUNDARY - 10 * SECOND, premium=None, status="stale")
    late = replace(SAMPLE, instant=BOUNDARY - 1, status=LATE_SAMPLE)
    padded = replace(SAMPLE, premium=D("0.000200000000"), index_price=D("1e2"))
    expected = input_hash(RATE, [second, SAMPLE], PARAMETERS)
    assert input_hash(replace(RATE, mark_price=D("100.50")), [padded, late, second], PARAMETERS) == expected
    assert mark_digest(replace(MARK, best_bid=D("99.000000000000"))) == mark_digest(MARK)


def test_the_state_of_averages_counts_as_what_it_says_whatever_the_database_does_with_its_spaces():
    assert mark_digest(replace(MARK, ema_state='{"basis":["2","3"],"at":"1"}')) == mark_digest(MARK)


def test_the_hash_is_that_of_the_lines_which_the_documentation_names():
    text = (
        f"{SAMPLE.instant}|0.0002|used|100|1768003190|6|{SAMPLE.instant}|99.5|100.6\n"
        f"{BOUNDARY}|100|1768003199|7|100.5|3|1\n"
        "1|quantdesk|10|0.01|0.0001|0.0005|0.04|0.5|0.01|20000|0|0|0\n"
    )
    assert input_hash(RATE, [SAMPLE], PARAMETERS) == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_of_a_mark_fits_a_bigint():
    digests = [mark_digest(replace(MARK, slot=slot)) for slot in range(64)]
    assert len(set(digests)) == 64
    assert all(-(2**63) <= each < 2**63 for each in digests)
    assert min(digests) < 0 < max(digests)


def test_zero_has_one_face_and_a_float_none():
    assert line(D("-0.000"), D("0E-12"), D("1E+3")) == b"0|0|1000\n"
    with pytest.raises(TypeError, match=r"0\.001 is a float"):
        line(0.001)  # type: ignore[arg-type]
