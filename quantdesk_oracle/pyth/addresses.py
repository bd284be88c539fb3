"""Pyth's programs, feeds and accounts, and what a cluster is called by its genesis hash.

Sources: Pyth's price feed ids, sponsored push feeds and program ids; Solana's genesis hashes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from solders.pubkey import Pubkey

from quantdesk_oracle.model import Generation

SYSTEM_PROGRAM: Final = "11111111111111111111111111111111"

GENESIS_HASHES: Final = {
    "mainnet-beta": "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d",
    "devnet": "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
    "testnet": "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY",
}

LEGACY_PROGRAMS: Final = {
    "FsJ3A3u2vn5cTVofAjvy6y5kwABJAqYWpe4975bi2epH": "mainnet-beta",
    "gSbePebfvPy7tRqimPoVecS2UsBvYv46ynrzWocc92s": "devnet",
}
RECEIVERS: Final = {
    Generation.CORE: "rec5EKMGg6MxZYaMdyBfgwp4d5rB9T1VQH5pJv5LtFJ",
    Generation.CORE_UPGRADED: "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp",
}
PUSH_PROGRAMS: Final = {
    Generation.CORE: "pythWSnswVUd12oZpeFP8e9CVaEqJg25g1Vtc2biRsT",
    Generation.CORE_UPGRADED: "pyt2F414BA6dPttK6RddPZUdHfapoBN24GL5wbrPCou",
}

FEED_SYMBOLS: Final = {
    "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43": "Crypto.BTC/USD",
    "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace": "Crypto.ETH/USD",
    "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d": "Crypto.SOL/USD",
    "eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a": "Crypto.USDC/USD",
    "72b021217ca3fe68922a19aaf990109cb9d84e9ad004b4d2025ad6f529314419": "Crypto.BONK/USD",
}
"""Feed id (hex) to symbol, of the feeds that this project has met. A feed need not stand here to be used."""


class LegacyAccount(NamedTuple):
    """A legacy price account that people still have in their configuration."""

    symbol: str
    cluster: str
    last_print: str
    """When the generation was frozen, in words."""


LEGACY_ACCOUNTS: Final = {
    "GVXRSBjFk6e6J3NbVPXohDJetcTjaeeuykUpbQF8UoMU": LegacyAccount("BTC/USD", "mainnet-beta", "August 2024"),
    "JBu1AL4obBcCMqKBBxhpWCNUt136ijcuMZLFvTP7iWdB": LegacyAccount("ETH/USD", "mainnet-beta", "August 2024"),
    "H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG": LegacyAccount("SOL/USD", "mainnet-beta", "August 2024"),
    "HovQMDrbAgAYPCmHVSrezcSmkMtXSSUsLDFANExrZh2J": LegacyAccount("BTC/USD", "devnet", "August 2024"),
    "EdVCmQ9FSPcVe5YySXDPCRmc8aDQLKJ9xvYBMZPie1Vw": LegacyAccount("ETH/USD", "devnet", "August 2024"),
    "J83w4HKfqxwcq3BEMMkPFSppX3gqekLyLJBexebFVkix": LegacyAccount("SOL/USD", "devnet", "August 2024"),
}


def generation_of_owner(owner: str) -> Generation:
    """Which generation of price accounts the program ``owner`` (base58) writes."""
    if owner in LEGACY_PROGRAMS:
        return Generation.LEGACY
    for generation, receiver in RECEIVERS.items():
        if owner == receiver:
            return generation
    return Generation.FOREIGN


def may_write(owner: str, *, legacy: bool) -> bool:
    """Whether the program ``owner`` (base58) is Pyth's and writes price accounts of that format.

    A legacy layout in a receiver's account, or the other way round, is nobody's price.
    """
    generation = generation_of_owner(owner)
    return generation is Generation.LEGACY if legacy else generation in RECEIVERS


def price_feed_address(feed_id: bytes, generation: Generation, shard: int = 0) -> str:
    """The account (base58) that the push program of ``generation`` keeps ``feed_id`` (32 bytes) in.

    Shard 0 holds the feeds that Pyth sponsors. Source: pyth-push-oracle,
    ``find_program_address([shard u16 LE, feed_id], push program)``.
    """
    if len(feed_id) != 32:
        raise ValueError(f"a feed id has 32 bytes, not {len(feed_id)}")
    program = Pubkey.from_string(PUSH_PROGRAMS[generation])
    address, _ = Pubkey.find_program_address([shard.to_bytes(2, "little"), feed_id], program)
    return str(address)


def feed_id_of_legacy_mainnet(pubkey: str) -> bytes:
    """The feed id (32 bytes) of a legacy *mainnet* price account (base58): its raw key."""
    return bytes(Pubkey.from_string(pubkey))


def is_pubkey(text: str) -> bool:
    """Whether ``text`` is 32 bytes in base58."""
    try:
        Pubkey.from_string(text)
    except ValueError:
        return False
    return True


def to_base58(key: bytes) -> str:
    """32 bytes as base58."""
    return str(Pubkey.from_bytes(key))
