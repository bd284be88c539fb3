"""Accumulator updates, as Hermes and Benchmarks serve them: price messages, each proven to a root.

    PNAU │ major 1 │ minor │ u8 n + n bytes │ proof type 0 │ u16 VAA length + VAA │ u8 updates │ updates
    update: u16 message length + message │ u8 nodes │ nodes of 20 bytes

The root is signed by guardians. Proofs are verified, which catches every corruption of a message; the signatures
are not. Pure.
Sources: pythnet-sdk `AccumulatorUpdateData` and `MerkleRoot`, wormhole's VAA.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth import layouts
from quantdesk_oracle.pyth.keccak import keccak256
from quantdesk_oracle.pyth.messages import decode_price_message

MAGIC: Final = b"PNAU"
ROOT_MAGIC: Final = b"AUWV"
_MAJOR: Final = 1
_MERKLE: Final = 0
_SIGNATURE_SIZE: Final = 66
_BODY_HEAD: Final = 4 + 4 + 2 + 32 + 8 + 1
"""Of a VAA: timestamp, nonce, emitter chain, emitter, sequence, consistency."""
_LEAF, _NODE = b"\x00", b"\x01"


class Root(NamedTuple):
    """What the guardians signed."""

    slot: int
    """Of Pythnet."""
    digest: bytes
    """20 bytes."""
    signatures: int


def decode_accumulator_update(data: bytes) -> list[PriceUpdate]:
    """Every price in ``data`` whose proof leads to the root; their slot is Pythnet's.

    Messages of other types are left out. Raises DecodeError for what is no update, and for a proof that fails.
    """
    reader = _Reader(data)
    reader.expect(MAGIC)
    reader.expect(bytes([_MAJOR]))
    reader.take(1)
    reader.take(reader.number(1))
    reader.expect(bytes([_MERKLE]))
    root = decode_root(reader.take(reader.number(2)))
    prices = []
    for _ in range(reader.number(1)):
        start = reader.offset
        message = reader.take(reader.number(2))
        nodes = [reader.take(layouts.PROOF_NODE_SIZE) for _ in range(reader.number(1))]
        if proven_root(message, nodes) != root.digest:
            raise DecodeError(
                Reason.BAD_VERIFICATION, start, f"a proof of {len(nodes)} nodes", "one to the root"
            )
        if message[:1] == bytes([layouts.PRICE_FEED_MESSAGE]):
            prices.append(decode_price_message(message, root.slot))
    return prices


def decode_root(vaa: bytes) -> Root:
    """The root in a VAA's payload. Raises DecodeError."""
    reader = _Reader(vaa)
    reader.take(1 + 4)
    signatures = reader.number(1)
    reader.take(signatures * _SIGNATURE_SIZE + _BODY_HEAD)
    reader.expect(ROOT_MAGIC)
    reader.expect(bytes([_MERKLE]))
    slot = reader.number(8)
    reader.take(4)
    return Root(slot, reader.take(layouts.PROOF_NODE_SIZE), signatures)


def proven_root(message: bytes, nodes: list[bytes]) -> bytes:
    """The root (20 bytes) that a proof, leaf side first, leads to from ``message``."""
    digest = _hash(_LEAF + message)
    for node in nodes:
        digest = _hash(_NODE + min(digest, node) + max(digest, node))
    return digest


def _hash(content: bytes) -> bytes:
    return keccak256(content)[: layouts.PROOF_NODE_SIZE]


class _Reader:
    """Takes bytes from the front, big endian."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, size: int) -> bytes:
        end = self.offset + size
        if end > len(self._data):
            raise DecodeError(
                Reason.TOO_SHORT, len(self._data), f"the end after {len(self._data)} bytes", f"{end} bytes"
            )
        part = self._data[self.offset : end]
        self.offset = end
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def expect(self, wanted: bytes) -> None:
        start = self.offset
        found = self.take(len(wanted))
        if found != wanted:
            raise DecodeError(Reason.UNKNOWN_ACCOUNT, start, f"0x{found.hex()}", f"0x{wanted.hex()}")
