"""Independent readings of Pyth's bytes, to hold the project's decoders against."""

from __future__ import annotations

from construct import Bytes, Int8ul, Int32sl, Int32ul, Int64sl, Int64ul, Struct

from quantdesk_oracle.model import PriceUpdate

_EMA = Struct("value" / Int64sl, "numerator" / Int64sl, "denominator" / Int64sl)
_AGGREGATE = Struct(
    "price" / Int64sl,
    "confidence" / Int64ul,
    "status" / Int32ul,
    "corporate_action" / Int32ul,
    "publish_slot" / Int64ul,
)
LEGACY_PRICE = Struct(
    "magic" / Int32ul,
    "version" / Int32ul,
    "account_type" / Int32ul,
    "used_size" / Int32ul,
    "price_type" / Int32ul,
    "exponent" / Int32sl,
    "components" / Int32ul,
    "quoting" / Int32ul,
    "last_slot" / Int64ul,
    "valid_slot" / Int64ul,
    "ema_price" / _EMA,
    "ema_confidence" / _EMA,
    "timestamp" / Int64sl,
    "min_publishers" / Int8ul,
    "message_sent" / Int8ul,
    "max_latency" / Int8ul,
    "flags" / Int8ul,
    "feed_index" / Int32ul,
    "product" / Bytes(32),
    "next_price" / Bytes(32),
    "prev_slot" / Int64ul,
    "prev_price" / Int64sl,
    "prev_confidence" / Int64ul,
    "prev_timestamp" / Int64sl,
    "aggregate" / _AGGREGATE,
)
"""The head of pyth-client's ``pc_price_t``; publishers' components follow."""


def decode_legacy_reference(data: bytes) -> PriceUpdate | None:
    """The print of a legacy price account; None where the account is none that may be read."""
    if len(data) < LEGACY_PRICE.sizeof():
        return None
    head = LEGACY_PRICE.parse(data)
    aggregate = head.aggregate
    if (head.magic, head.version, head.account_type, head.price_type) != (0xA1B2C3D4, 2, 3, 1):
        return None
    if aggregate.status > 4 or aggregate.corporate_action != 0:
        return None
    return PriceUpdate(
        feed_id=None,
        price=aggregate.price,
        confidence=aggregate.confidence,
        exponent=head.exponent,
        publish_time=head.timestamp,
        prev_publish_time=head.prev_timestamp,
        ema_price=head.ema_price.value,
        ema_confidence=head.ema_confidence.value,
        slot=aggregate.publish_slot,
        trading=aggregate.status == 1,
        legacy=True,
    )
