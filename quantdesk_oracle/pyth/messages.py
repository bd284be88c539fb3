"""Price messages, and the instructions that carried them to the chain: the record of every print.

Sources: pythnet-sdk `PriceFeedMessage` and `MerklePriceUpdate`, pyth-push-oracle `update_price_feed`,
pyth-solana-receiver `post_update` and `post_update_atomic`.
"""

from __future__ import annotations

from typing import NamedTuple

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth import layouts

_DISCRIMINATOR_SIZE = 8
_U32 = 4


class PostUpdate(NamedTuple):
    """An instruction of the receiver, or of the push program, that carries a price message."""

    discriminator: bytes
    message: bytes
    proof: tuple[bytes, ...]
    """Merkle proof nodes of 20 bytes each, leaf side first."""
    account_index: int
    """Which of the instruction's accounts holds the price."""


_ACCOUNT_INDEX = {
    layouts.UPDATE_PRICE_FEED: 5,
    layouts.POST_UPDATE: 4,
    layouts.POST_UPDATE_ATOMIC: 4,
}


def decode_price_message(message: bytes, slot: int, signatures: int | None = None) -> PriceUpdate:
    """Decode a price message (85 bytes, big endian; what follows is ignored) posted in ``slot``.

    Raises DecodeError, with reason ``not_a_price`` for messages of other types.
    """
    if len(message) < layouts.PRICE_MESSAGE.size:
        raise DecodeError(
            Reason.TOO_SHORT, len(message), f"the end after {len(message)} bytes", "a message of 85 bytes"
        )
    kind, feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf = (
        layouts.PRICE_MESSAGE.unpack_from(message)
    )
    if kind != layouts.PRICE_FEED_MESSAGE:
        raise DecodeError(Reason.NOT_A_PRICE, 0, kind, "message type 0 (price feed)")
    return PriceUpdate(
        feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf, slot, signatures
    )


def decode_instruction(data: bytes) -> PostUpdate:
    """Decode the data of an instruction that posts a price.

    Raises DecodeError, with reason ``not_a_price`` where it is another instruction.
    """
    discriminator = data[:_DISCRIMINATOR_SIZE]
    account_index = _ACCOUNT_INDEX.get(discriminator)
    if account_index is None:
        raise DecodeError(Reason.NOT_A_PRICE, 0, f"0x{discriminator.hex()}", "an instruction that posts a price")
    offset = _DISCRIMINATOR_SIZE
    if discriminator == layouts.POST_UPDATE_ATOMIC:
        _, offset = _sized(data, offset)
    message, offset = _sized(data, offset)
    count, offset = _u32(data, offset)
    end = offset + count * layouts.PROOF_NODE_SIZE
    if end > len(data):
        raise DecodeError(Reason.BAD_SIZE, offset - _U32, count, "proof nodes that fit into the instruction")
    proof = tuple(data[at : at + layouts.PROOF_NODE_SIZE] for at in range(offset, end, layouts.PROOF_NODE_SIZE))
    return PostUpdate(discriminator, message, proof, account_index)


def _u32(data: bytes, offset: int) -> tuple[int, int]:
    end = offset + _U32
    if end > len(data):
        raise DecodeError(Reason.TOO_SHORT, offset, f"the end after {len(data)} bytes", "a length of 4 bytes")
    return int.from_bytes(data[offset:end], "little"), end


def _sized(data: bytes, offset: int) -> tuple[bytes, int]:
    """A Borsh byte string at ``offset``, and the offset after it."""
    size, start = _u32(data, offset)
    end = start + size
    if end > len(data):
        raise DecodeError(Reason.BAD_SIZE, offset, size, f"at most {len(data) - start} bytes")
    return data[start:end], end
