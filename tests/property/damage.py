"""Damaged bytes, the same each time: a generator of its own, because hypothesis takes a millisecond an example.

A test that fails says the bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SEED = 20_261_122
JSON = (
    b"null", b"-1", b"0", b"1e999", b"1e-999", b"18446744073709551616", b"-9223372036854775809", b"9" * 400,
    b"true", b'""', b"{}", b"[]", b"[" * 2_000, b'{"a":' * 2_000, b'"\\ud800"', b"\x00", b"\xff\xfe", b"NaN",
    b"Infinity", b'"x"', b",", b":", b"}", b"]", b'"',
)  # fmt: skip
"""What a parser of JSON may stumble over."""
TOML = (
    b"[", b"]", b"[[markets]]\n", b"=", b'"', b"'''", b"inf", b"nan", b"-1", b"1e999", b"9" * 400, b"true", b"{}",
    b"[" * 2_000, b"a." * 2_000, b"\n", b"#", b"\x00", b"\xff", b"1979-05-27", b'"\\ud800"', b'"\xc3\xbc"', b"{a=1}",
)  # fmt: skip
CSV = (b",", b'"', b"\n", b"\r", b"NaN", b"Infinity", b"-0", b"1e999999999", b"1e-999999999", b"9" * 400,
       b"-1", b"\xd9\xa3", b"\x00", b"\xff", b" 1", b"1_0", b"accepted", b"poll")  # fmt: skip


def damaged(
    valid: Sequence[bytes], count: int, tokens: Sequence[bytes] = (), *, seed: int = SEED
) -> Iterator[bytes]:
    """``count`` byte strings, each one of ``valid`` with one to three damages anywhere in it."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(valid))
        for _ in range(rng.choice((1, 1, 2, 3))):
            _damage(data, rng, valid, tokens)
        yield bytes(data)


def _damage(data: bytearray, rng: random.Random, valid: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(9)
    if tokens and kind < 4:
        _put_token(data, rng, at, rng.choice(tokens))
    elif kind == 4:
        del data[at:]
    elif kind == 5:
        data[at:at] = rng.randbytes(rng.randrange(1, 64))
    elif kind == 6:  # the same place of another one
        data[at:] = rng.choice(valid)[at:]
    elif kind == 7:
        del data[at : at + rng.randrange(1, 32)]
    elif data:
        data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)


def _put_token(data: bytearray, rng: random.Random, at: int, token: bytes) -> None:
    """In place of a word or a number, mostly; or between two letters."""
    end = at
    if rng.random() < 0.7:
        word = b"0123456789.-+abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
        while at > 0 and data[at - 1] in word:
            at -= 1
        while end < len(data) and data[end] in word:
            end += 1
    data[at:end] = token
