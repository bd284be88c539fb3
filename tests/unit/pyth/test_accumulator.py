"""Real accumulator updates of Hermes, each number as expected, and no damaged one believed."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.localnet import keccak as other_keccak
from quantdesk_oracle.model import Reason
from quantdesk_oracle.pyth.accumulator import decode_accumulator_update, decode_root
from quantdesk_oracle.pyth.keccak import keccak256


@pytest.fixture(params=["docs_latest", "docs_stream_0"])
def sample(request: pytest.FixtureRequest, shared: Path) -> tuple[bytes, dict[str, Any]]:
    """A real update, and what is in it."""
    folder = shared / "hermes"
    data = bytes.fromhex((folder / f"{request.param}.pnau.hex").read_text().strip())
    return data, json.loads((folder / "expected_pnau.json").read_text())[request.param]


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ],
)
def test_keccak_256_of_published_vectors(message: bytes, digest: str) -> None:
    assert keccak256(message).hex() == digest


@pytest.mark.parametrize("size", [1, 84, 86, 134, 135, 136, 137, 271, 272, 500])
def test_keccak_256_agrees_with_the_local_nodes(size: int) -> None:
    message = hashlib.shake_128(str(size).encode()).digest(size)
    assert keccak256(message) == other_keccak.keccak256(message)


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
