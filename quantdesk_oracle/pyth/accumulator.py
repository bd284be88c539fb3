"""Accumulator updates, as Hermes and Benchmarks serve them: price messages, each proven to a root.

    PNAU │ major 1 │ minor │ u8 n + n bytes │ proof type 0 │ u16 VAA length + VAA │ u8 updates │ updates
    update: u16 message length + message │ u8 nodes │ nodes of 20 bytes

The root is signed by guardians. Proofs are verified, which catches every corruption of a message; the signatures
are not. Pure.
Sources: pythnet-sdk `AccumulatorUpdateData` and `MerkleRoot`, wormhole's VAA.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth import layouts
from quantdesk_oracle.pyth.keccak import RATE, keccak256_each
from quantdesk_oracle.pyth.messages import decode_price_message

MAGIC: Final = b"PNAU"
ROOT_MAGIC: Final = b"AUWV"
DEEPEST_PROOF: Final = 32
"""Nodes: four billion messages a slot; Pythnet has some three thousand, 12 nodes."""
_MAJOR: Final = 1
_MERKLE: Final = 0
_SIGNATURE_SIZE: Final = 66
_BODY_HEAD: Final = 4 + 4 + 2 + 32 + 8 + 1
"""Of a VAA: timestamp, nonce, emitter chain, emitter, sequence, consistency."""
_LEAF, _NODE = b"\x00", b"\x01"
_FEED_ID: Final = slice(1, 33)
_AT_ONCE: Final = 256
"""Messages that are hashed together: more make it no cheaper, and each width is prepared for."""


class Root(NamedTuple):
    """What the guardians signed."""

    slot: int
    """Of Pythnet."""
    digest: bytes
    """20 bytes."""
    signatures: int


def decode_accumulator_update(data: bytes, wanted: Collection[bytes] | None = None) -> list[PriceUpdate]:
    """Every price in ``data`` whose proof leads to the root; their slot is Pythnet's.

    Messages of other types, and of feeds outside of ``wanted`` (ids), are left out, and their proofs unread.
    Raises DecodeError for what is no update, and for a proof that fails.
    """
    return decode_accumulator_updates([data], wanted)


def decode_accumulator_updates(
    datas: Iterable[bytes], wanted: Collection[bytes] | None = None
) -> list[PriceUpdate]:
    """The prices of several updates, in their order; all proofs are climbed side by side, which costs a tenth."""
    leaves = [leaf for data in datas for leaf in _leaves(data, wanted)]
    roots = _proven_roots(leaves)
    for leaf, digest in zip(leaves, roots, strict=True):
        if digest != leaf.root.digest:
            found = f"a proof of {len(leaf.nodes)} nodes"
            raise DecodeError(Reason.BAD_VERIFICATION, leaf.offset, found, "one to the root")
    return [
        decode_price_message(leaf.message, leaf.root.slot)
        for leaf in leaves
        if leaf.message[:1] == bytes([layouts.PRICE_FEED_MESSAGE])
    ]


class _Leaf(NamedTuple):
    """A message, where it stands in its update, and its proof, leaf side first."""

    root: Root
    offset: int
    message: bytes
    nodes: list[bytes]


def _leaves(data: bytes, wanted: Collection[bytes] | None) -> Iterator[_Leaf]:
    reader = _Reader(data)
    reader.expect(MAGIC)
    reader.expect(bytes([_MAJOR]))
    reader.take(1)
    reader.take(reader.number(1))
    reader.expect(bytes([_MERKLE]))
    root = decode_root(reader.take(reader.number(2)))
    for _ in range(reader.number(1)):
        start = reader.offset
        message = reader.take(reader.number(2))
        count = reader.number(1)
        if count > DEEPEST_PROOF:
            found, expected = f"a proof of {count} nodes", f"at most {DEEPEST_PROOF}"
            raise DecodeError(Reason.BAD_VERIFICATION, start, found, expected)
        nodes = [reader.take(layouts.PROOF_NODE_SIZE) for _ in range(count)]
        if wanted is None or message[_FEED_ID] in wanted:
            yield _Leaf(root, start, message, nodes)


def _proven_roots(leaves: Sequence[_Leaf]) -> list[bytes]:
    """The root (20 bytes) that each leaf's proof leads to."""
    digests = _hashes([_LEAF + leaf.message for leaf in leaves])
    for level in range(max((len(leaf.nodes) for leaf in leaves), default=0)):
        climbing = [at for at, leaf in enumerate(leaves) if level < len(leaf.nodes)]
        pairs = [sorted((digests[at], leaves[at].nodes[level])) for at in climbing]
        for at, digest in zip(climbing, _hashes([_NODE + low + high for low, high in pairs]), strict=True):
            digests[at] = digest
    return digests


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


def _hashes(contents: Sequence[bytes]) -> list[bytes]:
    """The first 20 bytes of each content's hash."""
    digests: dict[int, bytes] = {}
    by_blocks: dict[int, list[int]] = {}
    for at, content in enumerate(contents):
        by_blocks.setdefault(len(content) // RATE, []).append(at)
    for positions in by_blocks.values():
        for start in range(0, len(positions), _AT_ONCE):
            some = positions[start : start + _AT_ONCE]
            digests.update(zip(some, keccak256_each([contents[at] for at in some]), strict=True))
    return [digests[at][: layouts.PROOF_NODE_SIZE] for at in range(len(contents))]


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
