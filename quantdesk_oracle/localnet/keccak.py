"""Keccak-256, the hash of Pyth's Merkle trees. hashlib has SHA3-256 only, which pads differently.

Source: the Keccak reference, version 3.0 (rate 1088 bits, capacity 512, multi-rate padding 0x01 … 0x80).
About half a millisecond per block of 136 bytes: enough for a few feeds a second; see ``settings.TreeHash``.
"""

from __future__ import annotations

import struct
from typing import Final

_RATE: Final = 136
_MASK: Final = (1 << 64) - 1
_BLOCK: Final = struct.Struct("<17Q")
_DIGEST: Final = struct.Struct("<4Q")


def _round_constants() -> tuple[int, ...]:
    """The 24 constants of step iota: bits of a linear feedback shift register, at positions 2**j - 1."""
    register = 1
    constants = []
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


def _moves() -> tuple[tuple[int, int, int], ...]:
    """Steps rho and pi as (from lane, to lane, rotation); lanes are numbered x + 5·y."""
    moves = [(0, 0, 0)]
    x, y = 1, 0
    for t in range(24):
        target = y + 5 * ((2 * x + 3 * y) % 5)
        moves.append((x + 5 * y, target, (t + 1) * (t + 2) // 2 % 64))
        x, y = y, (2 * x + 3 * y) % 5
    return tuple(moves)


_ROUND_CONSTANTS: Final = _round_constants()
_MOVES: Final = _moves()


def keccak256(data: bytes) -> bytes:
    """The 32-byte digest of ``data``."""
    return _sponge(data, 0x01)


def _sponge(data: bytes, suffix: int) -> bytes:
    """Absorb ``data`` and its padding, which begins with ``suffix``: 0x01 for Keccak, 0x06 for SHA-3."""
    padding = bytearray(_RATE - len(data) % _RATE)
    padding[0] = suffix
    padding[-1] |= 0x80
    padded = data + padding
    lanes = [0] * 25
    for at in range(0, len(padded), _RATE):
        for index, word in enumerate(_BLOCK.unpack_from(padded, at)):
            lanes[index] ^= word
        lanes = _permute(lanes)
    return _DIGEST.pack(*lanes[:4])


def _permute(a: list[int]) -> list[int]:
    """Keccak-f[1600]: 24 rounds of theta, rho, pi, chi, iota over 25 lanes of 64 bits."""
    for constant in _ROUND_CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ ((c[(x + 1) % 5] << 1 | c[(x + 1) % 5] >> 63) & _MASK) for x in range(5)]
        b = [0] * 25
        for source, target, turn in _MOVES:
            lane = a[source] ^ d[source % 5]
            b[target] = (lane << turn | lane >> (64 - turn)) & _MASK
        a = [
            b[row + x] ^ (~b[row + (x + 1) % 5] & b[row + (x + 2) % 5] & _MASK)
            for row in range(0, 25, 5)
            for x in range(5)
        ]
        a[0] ^= constant
    return a
