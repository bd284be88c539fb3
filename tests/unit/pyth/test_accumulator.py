"""Real accumulator updates of Hermes, each number as expected, and no damaged one believed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import Reason
from quantdesk_oracle.pyth.accumulator import decode_accumulator_update, decode_root


@pytest.fixture(params=["docs_latest", "docs_stream_0"])
def sample(request: pytest.FixtureRequest, shared: Path) -> tuple[bytes, dict[str, Any]]:
    """A real update, and what is in it."""
    folder = shared / "hermes"
    data = bytes.fromhex((folder / f"{request.param}.pnau.hex").read_text().strip())
    return data, json.loads((folder / "expected_pnau.json").read_text())[request.param]


def test_a_real_update_decodes_to_its_values(sample: tuple[bytes, dict[str, Any]]) -> None:
    data, expected = sample
    prices = decode_accumulator_update(data)
    assert len(prices) == len(expected["updates"])
    for price, wanted in zip(prices, expected["updates"], strict=True):
        assert price.feed_id == bytes.fromhex(wanted["feed_id"])
        assert (price.price, price.confidence, price.exponent) == (
            wanted["price"],
            wanted["conf"],
            wanted["exponent"],
        )
        assert (price.publish_time, price.prev_publish_time) == (
            wanted["publish_time"],
            wanted["prev_publish_time"],
        )
        assert (price.ema_price, price.ema_confidence) == (wanted["ema_price"], wanted["ema_conf"])
        assert price.slot == expected["payload_slot"]


def test_the_root_is_what_the_guardians_signed(sample: tuple[bytes, dict[str, Any]]) -> None:
    data, expected = sample
    start = data.index(expected["vaa_len"].to_bytes(2, "big")) + 2
    root = decode_root(data[start : start + expected["vaa_len"]])
    assert root.digest.hex() == expected["root"]
    assert (root.slot, root.signatures) == (expected["payload_slot"], expected["num_sigs"])


def test_any_flipped_bit_of_a_message_or_its_proof_is_noticed(sample: tuple[bytes, dict[str, Any]]) -> None:
    data, expected = sample
    whole = decode_accumulator_update(data)
    start = data.index(expected["vaa_len"].to_bytes(2, "big")) + 2 + expected["vaa_len"] + 1
    chance = random.Random(1)
    for _ in range(60):
        damaged = bytearray(data)
        damaged[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
        with pytest.raises(DecodeError):
            decode_accumulator_update(bytes(damaged))
    assert decode_accumulator_update(data) == whole


def test_every_truncation_is_refused_with_a_reason(sample: tuple[bytes, dict[str, Any]]) -> None:
    data, _ = sample
    for size in range(0, len(data), 7):
        with pytest.raises(DecodeError) as caught:
            decode_accumulator_update(data[:size])
        assert caught.value.reason in (Reason.TOO_SHORT, Reason.UNKNOWN_ACCOUNT)


def test_what_is_no_update_is_told_by_its_magic() -> None:
    with pytest.raises(DecodeError, match="0x504e4155"):
        decode_accumulator_update(b"PNAX" + bytes(100))
