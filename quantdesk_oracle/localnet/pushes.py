"""The bytes of a push: price message, Merkle proof, instructions, and the account they leave behind. Pure.

Sources: pythnet-sdk (`PriceFeedMessage`, `MerkleTree`), pyth-push-oracle `update_price_feed`,
pyth-solana-receiver `post_update` and `PriceUpdateV2`; design in ``pyth.layouts``.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from solders.pubkey import Pubkey

from quantdesk_oracle.localnet.keccak import keccak256
from quantdesk_oracle.localnet.settings import TreeHash
from quantdesk_oracle.pyth import layouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantdesk_oracle.model import PriceUpdate

PROOF_DEPTH: Final = 12
"""Levels of Pythnet's trees today: 2,049 to 4,096 messages a slot."""
TREASURY: Final = 0
SHARD: Final = 0
_LEAF, _NODE, _EMPTY = b"\x00", b"\x01", b"\x02"


def encode_price_update_v2(address: str, update: PriceUpdate) -> bytes:
    """The 134 bytes of a *Full* PriceUpdateV2 account at ``address``, which is its own write authority."""
    packed = layouts.FULL_UPDATE.pack(
        layouts.PRICE_UPDATE_V2,
        bytes(Pubkey.from_string(address)),
        layouts.FULL,
        update.feed_id,
        update.price,
        update.confidence,
        update.exponent,
        update.publish_time,
        update.prev_publish_time,
        update.ema_price,
        update.ema_confidence,
        update.slot,
    )
    return packed.ljust(layouts.PRICE_UPDATE_V2_SPACE, b"\0")


def encode_price_message(update: PriceUpdate) -> bytes:
    """The 85 bytes that Pythnet signs; the slot is not among them."""
    return layouts.PRICE_MESSAGE.pack(
        layouts.PRICE_FEED_MESSAGE,
        update.feed_id,
        update.price,
        update.confidence,
        update.exponent,
        update.publish_time,
        update.prev_publish_time,
        update.ema_price,
        update.ema_confidence,
    )


def encode_update_price_feed(message: bytes, proof: tuple[bytes, ...], feed_id: bytes) -> bytes:
    """Data of the push program's instruction; 376 bytes with 12 proof nodes."""
    return (
        layouts.UPDATE_PRICE_FEED
        + _merkle_price_update(message, proof)
        + bytes([TREASURY])
        + SHARD.to_bytes(2, "little")
        + feed_id
    )


def encode_post_update(message: bytes, proof: tuple[bytes, ...]) -> bytes:
    """Data of the receiver's instruction, which the push program calls; 342 bytes with 12 proof nodes."""
    return layouts.POST_UPDATE + _merkle_price_update(message, proof) + bytes([TREASURY])


def _merkle_price_update(message: bytes, proof: tuple[bytes, ...]) -> bytes:
    sizes = (len(message).to_bytes(4, "little"), len(proof).to_bytes(4, "little"))
    return sizes[0] + message + sizes[1] + b"".join(proof)


@lru_cache(maxsize=64)
def merkle_proofs(
    messages: tuple[bytes, ...], tree_hash: TreeHash = TreeHash.KECCAK256
) -> tuple[tuple[bytes, ...], ...]:
    """Each message's proof, leaf side first, in the tree of ``messages`` padded with empty leaves to 12 levels."""
    hashed = _hash(tree_hash)
    level = [hashed(_LEAF + message) for message in messages]
    proofs: list[list[bytes]] = [[] for _ in messages]
    for depth in range(PROOF_DEPTH):
        empty = _empty_tree(tree_hash, depth)
        if len(level) % 2:
            level.append(empty)
        for index, proof in enumerate(proofs):
            proof.append(level[index >> depth ^ 1])
        # Above the level where one node holds every message, the proof is of empty trees alone.
        if len(level) == 2 and level[1] == empty:
            for proof in proofs:
                proof.extend(_empty_tree(tree_hash, above) for above in range(depth + 1, PROOF_DEPTH))
            break
        level = [_node(hashed, *level[at : at + 2]) for at in range(0, len(level), 2)]
    return tuple(tuple(proof) for proof in proofs)


def merkle_root(message: bytes, proof: tuple[bytes, ...], tree_hash: TreeHash = TreeHash.KECCAK256) -> bytes:
    """The root (20 bytes) that ``proof`` leads to from ``message``."""
    hashed = _hash(tree_hash)
    root = hashed(_LEAF + message)
    for sibling in proof:
        root = _node(hashed, root, sibling)
    return root


def _hash(tree_hash: TreeHash) -> Callable[[bytes], bytes]:
    if tree_hash is TreeHash.SHA256:
        return lambda data: hashlib.sha256(data).digest()[:20]
    return lambda data: keccak256(data)[:20]


def _node(hashed: Callable[[bytes], bytes], left: bytes, right: bytes) -> bytes:
    return hashed(_NODE + min(left, right) + max(left, right))


@lru_cache(maxsize=2 * PROOF_DEPTH)
def _empty_tree(tree_hash: TreeHash, depth: int) -> bytes:
    """Root of a tree of 2**depth empty leaves."""
    if depth == 0:
        return _hash(tree_hash)(_EMPTY)
    below = _empty_tree(tree_hash, depth - 1)
    return _node(_hash(tree_hash), below, below)
