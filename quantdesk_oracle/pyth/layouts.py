"""Byte layouts of Pyth's accounts and messages, and the constants that tell them apart.

Sources: pyth-client `oracle.h` (legacy, little endian), pyth-solana-receiver `PriceUpdateV2` (Borsh, little
endian), pythnet-sdk `PriceFeedMessage` (big endian).
"""

from __future__ import annotations

import struct
from typing import Final

# ── PriceUpdateV2 (Anchor account) ───────────────────────────────────────────────────────────────
PRICE_UPDATE_V2: Final = bytes.fromhex("22f123639d7ef4cd")
"""sha256("account:PriceUpdateV2")[:8]"""
TWAP_UPDATE: Final = bytes.fromhex("68c0bc48f6a60c51")
"""sha256("account:TwapUpdate")[:8]: an account of the receiver that holds no spot price."""
VERIFICATION_OFFSET: Final = 40
PARTIAL: Final = 0
FULL: Final = 1
# write_authority, verification tag, [number of signatures,] feed_id, price, conf, exponent, publish_time,
# prev_publish_time, ema_price, ema_conf, posted_slot
FULL_UPDATE: Final = struct.Struct("<8s32sB32sqQiqqqQQ")
PARTIAL_UPDATE: Final = struct.Struct("<8s32sBB32sqQiqqqQQ")
# The print alone, which a *Partial* update has one byte further on: feed_id to posted_slot, as in PriceUpdate.
PRINT: Final = struct.Struct("<32sqQiqqqQQ")
FULL_PRINT_OFFSET: Final = 41
PARTIAL_PRINT_OFFSET: Final = 42
SIGNATURES_OFFSET: Final = 41
PRICE_UPDATE_V2_SPACE: Final = 134
"""Bytes that the receiver allocates; a *Full* update leaves the last one as it was."""

# ── Legacy accounts ──────────────────────────────────────────────────────────────────────────────
LEGACY_MAGIC: Final = 0xA1B2C3D4
LEGACY_MAGIC_BYTES: Final = LEGACY_MAGIC.to_bytes(4, "little")
LEGACY_VERSION: Final = 2
LEGACY_MAPPING: Final = 1
LEGACY_PRODUCT: Final = 2
LEGACY_PRICE: Final = 3
# magic, version, type, used size
LEGACY_HEADER: Final = struct.Struct("<IIII")
LEGACY_PRICE_START: Final = struct.pack("<III", LEGACY_MAGIC, LEGACY_VERSION, LEGACY_PRICE)
"""How every legacy price account begins."""
# price type, exponent, ema price, ema conf, timestamp, prev timestamp, aggregate price, conf, status, corporate action,
# publish slot; skipped: what no print has, publishers' keys and numbers above all
LEGACY_PRICE_HEAD: Final = struct.Struct("<16xIi24xq16xq16xq96xqqQIIQ")
# number of components, product
LEGACY_PRICE_DETAILS: Final = struct.Struct("<24xI84x32s")
LEGACY_MAPPING_HEAD: Final = struct.Struct("<16xI4x32s")
LEGACY_PRODUCT_HEAD: Final = struct.Struct("<16x32s")
LEGACY_SPOT_PRICE: Final = 1
"""The price type of a price; the format knows no other but 0, unknown."""
LEGACY_NO_CORPORATE_ACTION: Final = 0
"""The one corporate action that the format knows."""
LEGACY_TIME_STARTS: Final = 1_577_836_800
"""2020-01-01T00:00:00Z, in Unix seconds: what a price account from before holds at its timestamp is none."""
LEGACY_PRODUCTS_OFFSET: Final = 56
LEGACY_ATTRIBUTES_OFFSET: Final = 48

# ── Price message (inside instructions and accumulator updates) ──────────────────────────────────
# type, feed_id, price, conf, exponent, publish_time, prev_publish_time, ema_price, ema_conf
PRICE_MESSAGE: Final = struct.Struct(">B32sqQiqqqQ")
PRICE_FEED_MESSAGE: Final = 0

# ── Instructions ─────────────────────────────────────────────────────────────────────────────────
UPDATE_PRICE_FEED: Final = bytes.fromhex("1c095d965699bc73")
POST_UPDATE: Final = bytes.fromhex("855fcfaf0b4f762c")
POST_UPDATE_ATOMIC: Final = bytes.fromhex("31ac54c0afb434ea")
PROOF_NODE_SIZE: Final = 20

assert FULL_UPDATE.size == FULL_PRINT_OFFSET + PRINT.size == 133
assert PARTIAL_UPDATE.size == PARTIAL_PRINT_OFFSET + PRINT.size == 134
assert LEGACY_PRICE_HEAD.size == 240
assert PRICE_MESSAGE.size == 85
