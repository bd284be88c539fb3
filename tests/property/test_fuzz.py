"""Volume: a hundred thousand damaged accounts, and nothing gets through that is not what the bytes say.

A generator of its own, because hypothesis takes a millisecond for what costs ten microseconds here. The seed is
fixed, so that a failure is the same tomorrow; its message holds the bytes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pricing.acceptance import DEFAULT_LIMITS, judge
from quantdesk_oracle.pyth import idl
from quantdesk_oracle.pyth.accounts import LegacyPrice, decode_account, decode_price
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message
from tests.vectors import encoder
from tests.vectors.references import decode_legacy_reference

ACCOUNTS = 100_000
INSTRUCTIONS = 30_000
SEED = 20_261_122
LEGACY_MAGIC = b"\xd4\xc3\xb2\xa1"

VALID_ACCOUNTS = (
    encoder.price_update_v2(),
    encoder.price_update_v2(signatures=5),
    encoder.price_update_v2(price=1, confidence=0, exponent=0, ema_price=0, spare=b""),
    encoder.price_update_v2(price=10_000, confidence=24, ema_price=9_100),
    encoder.legacy_price(),
    encoder.legacy_price(240, status=0),
    encoder.legacy_product({"symbol": "Crypto.SOL/USD", "base": "SOL", "description": "SOL/USD"}, space=200),
    encoder.legacy_mapping([bytes([n] * 32) for n in range(4)], space=300),
    encoder.twap_update(),
)
PROOF = [bytes([n] * 20) for n in range(12)]
VALID_INSTRUCTIONS = (
    encoder.update_price_feed(encoder.price_message(), PROOF),
    encoder.post_update(encoder.price_message(), PROOF),
    encoder.post_update_atomic(bytes(100), encoder.price_message(), PROOF),
)
EVERY_END = {
    *("accepted", "wide", "quarantined", "rejected", "LegacyProduct", "LegacyMapping", "not_a_price"),
    *("too_short", "unknown_account", "bad_version", "bad_type", "bad_size", "bad_text"),
    *("bad_verification", "bad_status"),
}


def mutations(valid: tuple[bytes, ...], count: int) -> Iterator[bytes]:
    """``count`` damaged byte strings: one to three damages each, most of them in the first 300 bytes."""
    rng = random.Random(SEED)
    for _ in range(count):
        data = bytearray(rng.choice(valid))
        for _ in range(rng.choice((1, 1, 2, 3))):
            damage(data, rng, valid)
        yield bytes(data)


def damage(data: bytearray, rng: random.Random, valid: tuple[bytes, ...]) -> None:
    at = rng.randrange(min(len(data), 300)) if data else 0
    kind = rng.randrange(7)
    if kind == 0:
        del data[at:]
    elif kind == 1:
        data += rng.randbytes(rng.randrange(1, 64))
    elif kind == 2:  # the same place of another account
        data[at:] = rng.choice(valid)[at:]
    elif kind == 3:
        data[at : at + 8] = rng.choice((bytes(8), b"\xff" * 8, rng.randbytes(8)))
    elif kind == 4:  # moved by one, as between Full and Partial
        data[at:at] = rng.randbytes(1)
    elif data:
        at = min(at, len(data) - 1)
        data[at] ^= 1 << rng.randrange(8)


def reference(data: bytes) -> PriceUpdate | None:
    """What an independent decoder says of an account."""
    return decode_legacy_reference(data) if data[:4] == LEGACY_MAGIC else idl.decode_reference(data)


@pytest.mark.timeout(240)
def test_no_damaged_account_crashes_the_decoder_or_gets_another_price_accepted():
    seen: Counter[str] = Counter()
    for data in mutations(VALID_ACCOUNTS, ACCOUNTS):
        try:
            account = decode_account(data)
        except DecodeError as error:
            seen[error.reason] += 1
            continue
        update = account.update if isinstance(account, LegacyPrice) else account
        if not isinstance(update, PriceUpdate):
            seen[type(account).__name__] += 1
            continue
        judgement = judge(update, DEFAULT_LIMITS, now=None)
        seen[judgement.verdict] += 1
        if judgement.usable:
            assert update == reference(data), data.hex()
    # The generator reaches every kind of end: otherwise the test would prove nothing.
    assert seen.total() == ACCOUNTS
    assert seen["accepted"] > ACCOUNTS / 10, seen
    missed = EVERY_END - {end for end, count in seen.items() if count > 10}
    assert not missed, seen


@pytest.mark.timeout(240)
def test_the_hot_path_says_of_every_damaged_account_what_the_whole_decoder_says():
    for data in mutations(VALID_ACCOUNTS, ACCOUNTS // 4):
        try:
            price = decode_price(data)
        except DecodeError:
            price = None
        try:
            account = decode_account(data)
        except DecodeError:
            account = None
        update = account.update if isinstance(account, LegacyPrice) else account
        assert price == (update if isinstance(update, PriceUpdate) else None), data.hex()


@pytest.mark.timeout(240)
def test_no_damaged_instruction_crashes_the_decoder_or_carries_another_message():
    seen: Counter[str] = Counter()
    for data in mutations(VALID_INSTRUCTIONS, INSTRUCTIONS):
        try:
            posted = decode_instruction(data)
            update = decode_price_message(posted.message, slot=1)
        except DecodeError as error:
            seen[error.reason] += 1
            continue
        seen["decoded"] += 1
        # 85 bytes, big endian: what is read stands in the instruction, digit for digit.
        fields = {name: getattr(update, name) for name in encoder.PRICE_FIELDS}
        assert encoder.price_message(**fields) == posted.message[:85], data.hex()
        assert posted.message in data
        assert all(len(node) == 20 for node in posted.proof)
    assert seen["decoded"] > INSTRUCTIONS / 10, seen
    assert {"not_a_price", "too_short", "bad_size"} <= seen.keys(), seen
