"""Accounts and messages to measure with, of the sizes and fillings that they have on the chain."""

from __future__ import annotations

import struct

from tests.vectors import encoder

FULL = encoder.price_update_v2()
PARTIAL = encoder.price_update_v2(signatures=5)
MESSAGE = encoder.price_message()
COMPONENTS = 32
"""Publishers of a busy legacy feed, 96 bytes each; the account has room for as many."""
_COMPONENT = struct.Struct("<32sqQIIQqQIIQ")
_ATTRIBUTES = {
    "symbol": "Crypto.SOL/USD",
    "asset_type": "Crypto",
    "base": "SOL",
    "quote_currency": "USD",
    "description": "SOLANA / US DOLLAR",
    "generic_symbol": "SOLUSD",
    "cms_symbol": "SOLUSD",
    "display_symbol": "SOL/USD",
}


def legacy_price() -> bytes:
    """A legacy price account of 3,312 bytes with every publisher's component filled in."""
    head = encoder.legacy_price(used_size=240 + COMPONENTS * _COMPONENT.size)[:240]
    prices = (2_495_335_717, 2_126_633, 1, 0, 208_451_177)
    components = (_COMPONENT.pack(bytes([number + 1] * 32), *prices, *prices) for number in range(COMPONENTS))
    return head + b"".join(components)


def legacy_product() -> bytes:
    """A legacy product account with the attributes of a crypto asset."""
    return encoder.legacy_product(_ATTRIBUTES)


def legacy_mapping() -> bytes:
    """A full page of 640 products."""
    return encoder.legacy_mapping([bytes([1 + number % 255] * 32) for number in range(640)])
