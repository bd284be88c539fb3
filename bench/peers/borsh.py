"""Pyth's accounts declared with borsh-construct and construct: a decoder as their documentation teaches it."""

from __future__ import annotations

from typing import Any

from borsh_construct import I32, I64, U8, U64, CStruct
from construct import Bytes, Int8ub, Int32sb, Int64sb, Int64ub, Struct

_MESSAGE = (
    "feed_id" / Bytes(32),
    "price" / I64,
    "conf" / U64,
    "exponent" / I32,
    "publish_time" / I64,
    "prev_publish_time" / I64,
    "ema_price" / I64,
    "ema_conf" / U64,
)
_HEAD = ("discriminator" / Bytes(8), "write_authority" / Bytes(32), "verification_level" / U8)
FULL = CStruct(*_HEAD, *_MESSAGE, "posted_slot" / U64)
PARTIAL = CStruct(*_HEAD, "num_signatures" / U8, *_MESSAGE, "posted_slot" / U64)
PRICE_MESSAGE = Struct(
    "kind" / Int8ub,
    "feed_id" / Bytes(32),
    "price" / Int64sb,
    "conf" / Int64ub,
    "exponent" / Int32sb,
    "publish_time" / Int64sb,
    "prev_publish_time" / Int64sb,
    "ema_price" / Int64sb,
    "ema_conf" / Int64ub,
)


def decode_price_update_v2(data: bytes) -> Any:
    """A PriceUpdateV2 of either variant; nothing but the variant is checked."""
    return (FULL if data[40] else PARTIAL).parse(data)
