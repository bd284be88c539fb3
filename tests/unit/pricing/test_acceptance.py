"""Storage verdicts: every step of the table, both sides of every limit, and their order."""

from __future__ import annotations

import pytest

from quantdesk_oracle.model import SECOND, PriceUpdate, Reason, Verdict
from quantdesk_oracle.pricing.acceptance import (
    DEFAULT_LIMITS,
    MAX_SLOT,
    Judgement,
    StorageLimits,
    default_limits,
    judge,
)

PRICE = 1_000_000
NOW = 1_789_699_400 * SECOND
GOOD = PriceUpdate(
    feed_id=bytes(32),
    price=PRICE,
    confidence=100,
    exponent=-8,
    publish_time=1_789_699_386,
    prev_publish_time=1_789_699_385,
    ema_price=PRICE,
    ema_confidence=100,
    slot=447_956_893,
)
LEGACY = GOOD._replace(feed_id=None, legacy=True)
ACCEPTED = Judgement(Verdict.ACCEPTED)
WIDE = Judgement(Verdict.WIDE, Reason.WIDE)
QUARANTINED = Judgement(Verdict.QUARANTINED, Reason.QUARANTINED)


def verdict(base: PriceUpdate = GOOD, limits: StorageLimits = DEFAULT_LIMITS, **changes) -> Judgement:
    return judge(base._replace(**changes), limits, NOW)


def rejected(reason: Reason) -> Judgement:
    return Judgement(Verdict.REJECTED, reason)


def test_an_ordinary_print_is_accepted():
    assert verdict() == verdict(LEGACY) == ACCEPTED


# ── Step 1: form ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("price", [0, -1, -(2**63)])
def test_a_price_that_is_not_positive_is_rejected(price):
    assert verdict(price=price) == rejected(Reason.PRICE_NOT_POSITIVE)


def test_the_smallest_price_is_one():
    assert verdict(price=1, confidence=0, ema_price=1) == ACCEPTED


@pytest.mark.parametrize("exponent", [-12, -8, 0])
def test_exponents_from_minus_12_to_0_are_accepted(exponent):
    assert verdict(exponent=exponent) == ACCEPTED


@pytest.mark.parametrize("exponent", [-(2**31), -13, 1, 2**31 - 1])
def test_exponents_outside_minus_12_to_0_are_rejected(exponent):
    assert verdict(exponent=exponent) == rejected(Reason.BAD_EXPONENT)


@pytest.mark.parametrize("signatures", [0, 5, 255])
def test_a_partial_update_is_rejected_unless_the_operator_opts_in(signatures):
    assert verdict(signatures=signatures) == rejected(Reason.NOT_FULL)
    assert verdict(signatures=signatures, limits=StorageLimits(accept_partial=True)) == ACCEPTED


def test_a_legacy_price_that_is_not_trading_is_rejected():
    assert verdict(LEGACY, trading=False) == rejected(Reason.NOT_TRADING)


def test_a_legacy_timestamp_before_2020_is_none():
    assert verdict(LEGACY, publish_time=1_577_836_799) == rejected(Reason.BAD_TIMESTAMP)
    assert verdict(LEGACY, publish_time=1_577_836_800) == ACCEPTED


def test_an_update_may_be_from_before_2020_and_not_from_before_the_epoch():
    assert verdict(publish_time=0) == ACCEPTED
    assert verdict(publish_time=-1) == rejected(Reason.BAD_TIMESTAMP)


def test_a_slot_that_no_database_could_hold_is_rejected():
    assert MAX_SLOT == 2**63 - 1
    assert verdict(slot=MAX_SLOT) == ACCEPTED
    assert verdict(slot=MAX_SLOT + 1) == rejected(Reason.BAD_SLOT)


# ── Step 2: the clock ────────────────────────────────────────────────────────────────────────────


def test_a_print_may_be_five_seconds_ahead_of_the_clock_and_no_microsecond_more():
    at_the_limit = GOOD._replace(publish_time=NOW // SECOND + 5)
    assert judge(at_the_limit, DEFAULT_LIMITS, NOW) == ACCEPTED
    assert judge(at_the_limit, DEFAULT_LIMITS, NOW - 1) == rejected(Reason.FUTURE)


def test_without_a_clock_no_print_is_of_the_future():
    assert judge(GOOD._replace(publish_time=2**63 - 1), DEFAULT_LIMITS, None) == ACCEPTED


def test_storage_does_not_ask_how_old_a_print_is():
    assert verdict(publish_time=1) == ACCEPTED


# ── Step 3: confidence ───────────────────────────────────────────────────────────────────────────


def test_a_confidence_of_exactly_2_percent_is_wide_and_of_more_is_uncertain():
    assert verdict(confidence=PRICE // 50) == WIDE
    assert verdict(confidence=PRICE // 50 + 1) == rejected(Reason.UNCERTAIN)


def test_bitcoin_at_5402_give_or_take_21623_is_uncertain():
    assert verdict(price=540_200, confidence=2_162_300, ema_price=4_900_000) == rejected(Reason.UNCERTAIN)


# ── Steps 4 and 5: the message's own EMA ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("price", "ema", "judgement"),
    [
        (5 * PRICE, PRICE, QUARANTINED),
        (5 * PRICE + 1, PRICE, rejected(Reason.IMPLAUSIBLE)),
        (PRICE, 5 * PRICE, QUARANTINED),
        (PRICE, 5 * PRICE + 1, rejected(Reason.IMPLAUSIBLE)),
    ],
)
def test_a_price_more_than_5_times_or_under_a_fifth_of_its_ema_is_implausible(price, ema, judgement):
    assert verdict(price=price, ema_price=ema) == judgement


@pytest.mark.parametrize(
    ("price", "judgement"),
    [
        (1_100_000, ACCEPTED),
        (1_100_001, QUARANTINED),
        (900_000, ACCEPTED),
        (899_999, QUARANTINED),
    ],
)
def test_a_price_more_than_10_percent_off_its_ema_is_quarantined(price, judgement):
    assert verdict(price=price, ema_price=1_000_000) == judgement


@pytest.mark.parametrize("ema", [0, -1, -(2**63)])
def test_without_an_ema_nothing_is_implausible_or_quarantined(ema):
    assert verdict(ema_price=ema) == ACCEPTED
    assert verdict(ema_price=ema, confidence=2_501) == WIDE


# ── Step 6: wide ─────────────────────────────────────────────────────────────────────────────────


def test_a_confidence_of_exactly_25_basis_points_is_accepted_and_of_more_is_wide():
    assert verdict(confidence=2_500) == ACCEPTED
    assert verdict(confidence=2_501) == WIDE


def test_sol_may_be_twice_as_wide():
    sol = default_limits("Crypto.SOL/USD")
    assert verdict(confidence=5_000, limits=sol) == ACCEPTED
    assert verdict(confidence=5_001, limits=sol) == WIDE


@pytest.mark.parametrize("symbol", [None, "Crypto.BTC/USD", "Crypto.ETH/USD", "FX.EUR/USD"])
def test_every_other_feed_has_the_plain_limits(symbol):
    assert default_limits(symbol) == DEFAULT_LIMITS == StorageLimits()


def test_confidence_zero_is_accepted():
    assert verdict(confidence=0) == ACCEPTED


# ── Order, exactness, settings ───────────────────────────────────────────────────────────────────


def test_of_several_faults_the_first_of_the_table_is_named():
    faults: list[tuple[dict[str, object], Reason]] = [
        ({"price": 0}, Reason.PRICE_NOT_POSITIVE),
        ({"exponent": 1}, Reason.BAD_EXPONENT),
        ({"signatures": 5}, Reason.NOT_FULL),
        ({"trading": False}, Reason.NOT_TRADING),
        ({"publish_time": 0}, Reason.BAD_TIMESTAMP),
        ({"slot": 2**64 - 1}, Reason.BAD_SLOT),
    ]
    for first, (_, reason) in enumerate(faults):
        together = {key: value for fault, _ in faults[first:] for key, value in fault.items()}
        assert verdict(LEGACY, **together) == rejected(reason)


def test_the_clock_comes_before_confidence_confidence_before_the_ema_and_quarantine_before_wide():
    future, uncertain = {"publish_time": 2**40}, {"confidence": PRICE}
    implausible, quarantined, wide = {"ema_price": 1}, {"ema_price": 800_000}, {"confidence": 10_000}
    assert verdict(**future | uncertain | implausible) == rejected(Reason.FUTURE)
    assert verdict(**uncertain | implausible) == rejected(Reason.UNCERTAIN)
    assert verdict(**implausible | wide) == rejected(Reason.IMPLAUSIBLE)
    assert verdict(**quarantined | wide) == QUARANTINED


def test_ratios_are_exact_where_a_float_would_not_see_the_difference():
    price = 2**63 - 1
    limit, remainder = divmod(price * 2_500, 1_000_000)
    assert remainder > 0
    assert verdict(price=price, ema_price=price, confidence=limit) == ACCEPTED
    assert verdict(price=price, ema_price=price, confidence=limit + 1) == WIDE
    assert limit / price == (limit + 1) / price


def test_the_largest_numbers_of_the_format_are_judged_without_overflow():
    largest = 2**63 - 1
    assert verdict(price=largest, confidence=0, ema_price=largest) == ACCEPTED
    assert verdict(price=largest, confidence=2**64 - 1) == rejected(Reason.UNCERTAIN)


def test_every_threshold_is_a_setting():
    limits = StorageLimits(
        future=0,
        uncertain_ppm=10,
        implausible_factor=2,
        quarantine_ppm=1_000,
        wide_ppm=1,
        accept_partial=True,
    )
    assert verdict(publish_time=NOW // SECOND + 1, limits=limits) == rejected(Reason.FUTURE)
    assert verdict(confidence=11, limits=limits) == rejected(Reason.UNCERTAIN)
    assert verdict(confidence=2, limits=limits) == WIDE
    assert verdict(confidence=1, limits=limits) == ACCEPTED
    assert verdict(price=2 * PRICE + 1, confidence=0, limits=limits) == rejected(Reason.IMPLAUSIBLE)
    assert verdict(price=1_001_001, confidence=0, limits=limits) == QUARANTINED


def test_usable_at_once_is_accepted_or_wide():
    assert [each.usable for each in (ACCEPTED, WIDE, QUARANTINED, rejected(Reason.FUTURE))] == [
        True,
        True,
        False,
        False,
    ]
