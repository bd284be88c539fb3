"""The bytes of a push: price message, Merkle proof, instructions, and the account they leave behind. Pure.

Sources: pythnet-sdk (`PriceFeedMessage`, `MerkleTree`), pyth-push-oracle `update_price_feed`,
pyth-solana-receiver `post_update` and `PriceUpdateV2`; design in ``pyth.layouts``.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from solders.pubkey import Pubkey

from quantdesk_oracle.pyth import layouts
from quantdesk_oracle.pyth.keccak import keccak256_each

if TYPE_CHECKING:
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


@lru_cache(maxsize=8_192)
def merkle_proofs(messages: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
    """Each message's proof, leaf side first, in the tree of ``messages`` padded with empty leaves to 12 levels.

    One size for all messages; at most 4,096 of them. The trees of a day's sponsored pushes are kept: hashing one
    is nearly all that a transaction costs.
    """
    level = _hashes([_LEAF + message for message in messages])
    proofs: list[list[bytes]] = [[] for _ in messages]
    for depth in range(PROOF_DEPTH):
        if len(level) % 2:
            level.append(_empty_tree(depth))
        for index, proof in enumerate(proofs):
            proof.append(level[index >> depth ^ 1])
        if len(level) == 2:
            break
        level = _hashes([_node(*level[at : at + 2]) for at in range(0, len(level), 2)])
    # Above the node that holds every message, all others are roots of empty trees.
    empty = tuple(_empty_tree(depth) for depth in range(len(proofs[0]), PROOF_DEPTH))
    return tuple((*proof, *empty) for proof in proofs)


def merkle_root(message: bytes, proof: tuple[bytes, ...]) -> bytes:
    """The root (20 bytes) that ``proof`` leads to from ``message``."""
    (root,) = _hashes([_LEAF + message])
    for sibling in proof:
        (root,) = _hashes([_node(root, sibling)])
    return root


def _hashes(contents: list[bytes]) -> list[bytes]:
    return [digest[: layouts.PROOF_NODE_SIZE] for digest in keccak256_each(contents)]


def _node(left: bytes, right: bytes) -> bytes:
    return _NODE + min(left, right) + max(left, right)


@cache
def _empty_tree(depth: int) -> bytes:
    """Root of a tree of 2**depth empty leaves."""
    content = _node(_empty_tree(depth - 1), _empty_tree(depth - 1)) if depth else _EMPTY
    return _hashes([content])[0]
