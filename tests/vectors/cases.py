"""The project's own vectors: one dump for every kind, variant and verdict.

``python -m tests.vectors.cases`` from the root of the checkout writes accounts.json anew. expected.json holds
what ``decode --json`` must say of each, in the same order; a change there is a change for everyone who reads it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.vectors import encoder

ACCOUNTS = Path(__file__).with_name("accounts.json")
EXPECTED = Path(__file__).with_name("expected.json")

CORE = "rec5EKMGg6MxZYaMdyBfgwp4d5rB9T1VQH5pJv5LtFJ"
UPGRADED = "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp"
MAINNET = "FsJ3A3u2vn5cTVofAjvy6y5kwABJAqYWpe4975bi2epH"
DEVNET = "gSbePebfvPy7tRqimPoVecS2UsBvYv46ynrzWocc92s"
STRANGER = "G6EoTTTgpkNBtVXo96EQp2m6uwwVh2Kt6YidjkmQqoha"
UNKNOWN = "11111111111111111111111111111111"

BTC_FEED = bytes.fromhex("e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43")
SOL_ACCOUNT = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"
SOL_CORE = "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE"
BTC_ACCOUNT = "APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5"
LEGACY_SOL = "H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG"
LEGACY_SOL_DEVNET = "J83w4HKfqxwcq3BEMMkPFSppX3gqekLyLJBexebFVkix"
PRODUCT_KEY = "3Mnn2fX6rQyUsyELYms1sBJyChWofzSNRoqYzvgMVz5E"
MAPPING_KEY = "AHtgzX45WTKfkPG53L6WYhGEXwQkN1BVknET3sVsLL8J"
LEGACY_SPACE = 240


def sol(owner: str = UPGRADED, **fields: Any) -> dict[str, Any]:
    """A SOL account of the receiver ``owner``: 100 ± 0.1, EMA 100, unless ``fields`` say otherwise."""
    plain = {"price": 10_000_000_000, "confidence": 10_000_000, "ema_price": 10_000_000_000}
    return encoder.dump(SOL_ACCOUNT, owner, encoder.price_update_v2(**plain | fields))


def btc(**fields: Any) -> dict[str, Any]:
    """A BTC account, likewise."""
    dump = sol(feed_id=BTC_FEED, **fields)
    return dump | {"pubkey": BTC_ACCOUNT}


def legacy(pubkey: str = LEGACY_SOL, owner: str = MAINNET, **fields: int) -> dict[str, Any]:
    """A legacy price account, cut to its head."""
    return encoder.dump(pubkey, owner, encoder.legacy_price(LEGACY_SPACE, **fields))


PRODUCT = encoder.legacy_product({"symbol": "Crypto.SOL/USD", "base": "SOL"}, space=128)
MAPPING = encoder.legacy_mapping([encoder.PRODUCT])

CASES: list[dict[str, Any]] = [
    # PriceUpdateV2
    sol(),
    encoder.dump(SOL_CORE, CORE, encoder.price_update_v2()),
    sol(owner=CORE, signatures=5),
    sol(owner=STRANGER),
    sol(owner=MAINNET),
    sol(owner=STRANGER, price=-1),
    sol(ema_price=0),
    # confidence: 40 bp is wide for BTC and not for SOL
    btc(confidence=40_000_000),
    sol(confidence=40_000_000),
    sol(confidence=60_000_000),
    sol(confidence=200_000_001),
    # distance to the EMA
    sol(price=11_000_000_001),
    sol(price=50_000_000_001),
    # form
    sol(price=0),
    sol(price=-10_000_000_000),
    sol(exponent=1),
    sol(exponent=-13),
    sol(exponent=2**31 - 1),
    sol(exponent=-(2**31)),
    sol(publish_time=-1),
    sol(publish_time=2**63 - 1),
    sol(slot=2**64 - 1),
    # legacy
    legacy(),
    legacy(LEGACY_SOL_DEVNET, DEVNET),
    legacy(UNKNOWN, MAINNET),
    legacy(owner=CORE),
    legacy(status=2),
    legacy(status=0, timestamp=1),
    legacy(timestamp=1),
    legacy(ema_price=0, ema_confidence=7),
    encoder.dump(PRODUCT_KEY, DEVNET, PRODUCT),
    encoder.dump(MAPPING_KEY, MAINNET, MAPPING),
    encoder.dump(PRODUCT_KEY, STRANGER, PRODUCT),
    # undecodable
    encoder.dump(SOL_ACCOUNT, UPGRADED, encoder.twap_update()),
    encoder.dump(SOL_ACCOUNT, UPGRADED, encoder.price_update_v2()[:132]),
    encoder.dump(SOL_ACCOUNT, UPGRADED, b""),
    encoder.dump(SOL_ACCOUNT, UNKNOWN, bytes(134)),
    legacy(version=3),
    legacy(status=5),
]

if __name__ == "__main__":
    ACCOUNTS.write_text(json.dumps(CASES, indent=1) + "\n")
