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


class _Shape(NamedTuple):
    """What an instruction has around its MerklePriceUpdate."""

    account_index: int
    has_vaa: bool
    tail: int
    """Bytes after the proof: the treasury's number, and where the push program is called shard and feed id."""


_SHAPES = {
    layouts.UPDATE_PRICE_FEED: _Shape(account_index=5, has_vaa=False, tail=1 + 2 + 32),
    layouts.POST_UPDATE: _Shape(account_index=4, has_vaa=False, tail=1),
    layouts.POST_UPDATE_ATOMIC: _Shape(account_index=4, has_vaa=True, tail=1),
}


def decode_price_message(message: bytes, slot: int, signatures: int | None = None) -> PriceUpdate:
    """Decode a price message (85 bytes, big endian; what follows is ignored) posted in ``slot``.

    Raises DecodeError, with reason ``not_a_price`` for messages of other types.
    """
    if len(message) < layouts.PRICE_MESSAGE.size:
        raise _too_short(message, layouts.PRICE_MESSAGE.size)
    kind, feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf = (
        layouts.PRICE_MESSAGE.unpack_from(message)
    )
    if kind != layouts.PRICE_FEED_MESSAGE:
        raise DecodeError(Reason.NOT_A_PRICE, 0, kind, "message type 0 (price feed)")
    return PriceUpdate(feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf, slot, signatures)


def decode_instruction(data: bytes) -> PostUpdate:
    """Decode the data of an instruction that posts a price.

    Raises DecodeError, with reason ``not_a_price`` where it is another instruction.
    """
    discriminator = data[:_DISCRIMINATOR_SIZE]
    shape = _SHAPES.get(discriminator)
    if shape is None:
        found = f"0x{discriminator.hex()}"
        raise DecodeError(Reason.NOT_A_PRICE, 0, found, "an instruction that posts a price")
    offset = _DISCRIMINATOR_SIZE
    if shape.has_vaa:
        _, offset = _byte_string(data, offset)
    message, offset = _byte_string(data, offset)
    proof, offset = _proof(data, offset)
    # What follows is not wanted here, as the program does not want it either.
    if offset + shape.tail > len(data):
        raise _too_short(data, offset + shape.tail)
    return PostUpdate(discriminator, message, proof, shape.account_index)


def _byte_string(data: bytes, offset: int) -> tuple[bytes, int]:
    """A Borsh byte string at ``offset``, and the offset after it."""
    size, start = _u32(data, offset)
    end = start + size
    if end > len(data):
        raise DecodeError(Reason.BAD_SIZE, offset, size, f"a length of at most {len(data) - start} bytes")
    return data[start:end], end


def _proof(data: bytes, offset: int) -> tuple[tuple[bytes, ...], int]:
    """A Borsh list of proof nodes at ``offset``, and the offset after it."""
    size = layouts.PROOF_NODE_SIZE
    count, start = _u32(data, offset)
    end = start + count * size
    if end > len(data):
        raise DecodeError(
            Reason.BAD_SIZE, offset, count, f"at most {(len(data) - start) // size} proof nodes"
        )
    return tuple(data[at : at + size] for at in range(start, end, size)), end


def _u32(data: bytes, offset: int) -> tuple[int, int]:
    end = offset + _U32
    if end > len(data):
        raise _too_short(data, end)
    return int.from_bytes(data[offset:end], "little"), end


def _too_short(data: bytes, least: int) -> DecodeError:
    return DecodeError(Reason.TOO_SHORT, len(data), f"the end after {len(data)} bytes", f"{least} bytes")
