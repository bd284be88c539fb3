import hashlib

import pytest

from quantdesk_oracle.pyth import keccak


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (
            b"The quick brown fox jumps over the lazy dog",
            "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15",
        ),
    ],
)
def test_known_digests_come_out(text: bytes, digest: str) -> None:
    assert keccak.keccak256(text).hex() == digest


@pytest.mark.parametrize("size", [0, 1, 85, 134, 135, 136, 137, 271, 272, 273, 1000])
def test_with_the_padding_of_sha3_it_is_the_sha3_of_the_standard_library(size: int) -> None:
    data = bytes(index * 7 % 256 for index in range(size))
    assert keccak._sponge([data], 0x06) == [hashlib.sha3_256(data).digest()]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 200])
def test_messages_that_are_hashed_together_do_not_touch_each_other(width: int) -> None:
    messages = [index.to_bytes(2, "big") * 20 for index in range(width)]
    assert keccak._sponge(messages, 0x06) == [hashlib.sha3_256(message).digest() for message in messages]
    assert keccak.keccak256_each(messages) == [keccak.keccak256(message) for message in messages]
