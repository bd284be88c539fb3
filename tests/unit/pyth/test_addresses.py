"""Programs, feeds and the accounts derived from them."""

from __future__ import annotations

import pytest

from quantdesk_oracle.model import Generation
from quantdesk_oracle.pyth import addresses

FEEDS = {symbol: bytes.fromhex(feed_id) for feed_id, symbol in addresses.FEED_SYMBOLS.items()}
CORE = addresses.RECEIVERS[Generation.CORE]
UPGRADED = addresses.RECEIVERS[Generation.CORE_UPGRADED]
LEGACY_MAINNET, LEGACY_DEVNET = addresses.LEGACY_PROGRAMS
STRANGER = "G6EoTTTgpkNBtVXo96EQp2m6uwwVh2Kt6YidjkmQqoha"


@pytest.mark.parametrize(
    ("symbol", "generation", "address"),
    [
        ("Crypto.BTC/USD", Generation.CORE, "4cSM2e6rvbGQUFiJbqytoVMi5GgghSMr8LwVrT9VPSPo"),
        ("Crypto.ETH/USD", Generation.CORE, "42amVS4KgzR9rA28tkVYqVXjq9Qa8dcZQMbH5EYFX6XC"),
        ("Crypto.SOL/USD", Generation.CORE, "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE"),
        ("Crypto.BTC/USD", Generation.CORE_UPGRADED, "APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5"),
        ("Crypto.ETH/USD", Generation.CORE_UPGRADED, "7odryi4WfoMFHtv2eubdMgP1pqQMmdiXSK1N2tqZ2nRH"),
        ("Crypto.SOL/USD", Generation.CORE_UPGRADED, "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"),
        ("Crypto.USDC/USD", Generation.CORE, "Dpw1EAVrSB1ibxiDQyTAW6Zip3J4Btk2x4SgApQCeFbX"),
        ("Crypto.BONK/USD", Generation.CORE, "DBE3N8uNjhKPRHfANdwGvCZghWXyLPdqdSbEW2XFwBiX"),
    ],
)
def test_the_push_programs_keep_the_sponsored_feeds_at_their_published_addresses(symbol, generation, address):
    assert addresses.price_feed_address(FEEDS[symbol], generation) == address


def test_another_shard_is_another_account():
    feed = FEEDS["Crypto.SOL/USD"]
    shards = {addresses.price_feed_address(feed, Generation.CORE, shard) for shard in (0, 1, 256, 65_535)}
    assert len(shards) == 4


def test_a_feed_id_has_32_bytes():
    with pytest.raises(ValueError, match="32 bytes, not 33"):
        addresses.price_feed_address(bytes(33), Generation.CORE)


@pytest.mark.parametrize("base", ["BTC", "ETH", "SOL"])
def test_the_key_of_a_legacy_mainnet_account_is_its_feed_id(base):
    (key,) = [
        key
        for key, account in addresses.LEGACY_ACCOUNTS.items()
        if account.cluster == "mainnet-beta" and account.symbol == f"{base}/USD"
    ]
    assert addresses.feed_id_of_legacy_mainnet(key) == FEEDS[f"Crypto.{base}/USD"]


def test_the_key_of_a_legacy_devnet_account_is_no_feed_that_anybody_publishes():
    for key, account in addresses.LEGACY_ACCOUNTS.items():
        if account.cluster == "devnet":
            assert addresses.feed_id_of_legacy_mainnet(key).hex() not in addresses.FEED_SYMBOLS


@pytest.mark.parametrize(
    ("owner", "generation"),
    [
        (LEGACY_MAINNET, Generation.LEGACY),
        (LEGACY_DEVNET, Generation.LEGACY),
        (CORE, Generation.CORE),
        (UPGRADED, Generation.CORE_UPGRADED),
        (STRANGER, Generation.FOREIGN),
        (addresses.SYSTEM_PROGRAM, Generation.FOREIGN),
        (addresses.PUSH_PROGRAMS[Generation.CORE], Generation.FOREIGN),
    ],
)
def test_the_owner_tells_the_generation(owner, generation):
    assert addresses.generation_of_owner(owner) is generation


@pytest.mark.parametrize(
    ("owner", "legacy", "may"),
    [
        (CORE, False, True),
        (UPGRADED, False, True),
        (LEGACY_MAINNET, True, True),
        (LEGACY_DEVNET, True, True),
        (CORE, True, False),
        (UPGRADED, True, False),
        (LEGACY_MAINNET, False, False),
        (STRANGER, True, False),
        (STRANGER, False, False),
    ],
)
def test_a_program_writes_only_the_format_of_its_generation(owner, legacy, may):
    assert addresses.may_write(owner, legacy=legacy) is may


def test_every_known_address_is_one():
    known = [*addresses.LEGACY_ACCOUNTS, *addresses.LEGACY_PROGRAMS, *addresses.RECEIVERS.values()]
    known += [*addresses.PUSH_PROGRAMS.values(), addresses.SYSTEM_PROGRAM, *addresses.GENESIS_HASHES.values()]
    assert all(addresses.is_pubkey(key) for key in known)


@pytest.mark.parametrize(
    "text", ["", "0" * 32, "1" * 31, "1" * 33, "\ud800", "é" * 44, "z" * 44, "A" * 10_000]
)
def test_what_is_not_32_bytes_in_base58_is_no_pubkey(text):
    assert not addresses.is_pubkey(text)


def test_base58_goes_there_and_back():
    assert addresses.feed_id_of_legacy_mainnet(addresses.to_base58(encoded := bytes(range(32)))) == encoded
