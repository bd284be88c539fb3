"""File and environment to settings: who wins, what is derived."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from quantdesk_oracle.config import endpoint_name, load_settings, redact_dsn
from quantdesk_oracle.config.load import NO_DATABASE, PUBLIC_RPC, default_state_dir
from quantdesk_oracle.config.urls import websocket_url
from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND, Generation
from tests.unit.config.conftest import DSN, Load

ETH_FEED = "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"
SOME_ACCOUNT = "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(load: Load) -> None:
    toml = '[http]\nhost = "::1"\nport = 8000\n[log]\nlevel = "debug"\n'
    settings = load(toml, QUANTDESK_HTTP_PORT="9000")
    assert (settings.http_host, settings.http_port, settings.log_level, settings.log_format) == (
        "::1",
        9000,
        "debug",
        "auto",
    )


def test_the_environment_wins_over_the_env_file(load: Load) -> None:
    env_file = "SOLANA_NETWORK=devnet\nQUANTDESK_LOG_LEVEL=debug\n"
    settings = load(env_file=env_file, SOLANA_NETWORK="testnet")
    assert (settings.node.network, settings.log_level) == ("testnet", "debug")


def test_an_empty_variable_counts_as_not_set(load: Load) -> None:
    assert load('[solana]\nnetwork = "devnet"\n', SOLANA_NETWORK="").node.network == "devnet"


def test_variables_of_other_programs_in_the_env_file_are_passed_over(load: Load) -> None:
    assert load(env_file="JWT_SECRET=abc\nPORT=3000\nREDIS_URL=redis://x\n").http_port == 9464


def test_port_zero_of_the_environment_is_a_value(load: Load) -> None:
    settings = load(QUANTDESK_HTTP_PORT="0")
    assert (settings.http_port, settings.http_port_is_default) == (0, False)


def test_a_port_that_nobody_named_is_known_as_such(load: Load) -> None:
    assert load().http_port_is_default
    assert not load("[http]\nport = 9464\n").http_port_is_default


def test_a_forgotten_database_url_is_no_private_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.problems == (NO_DATABASE,)


def test_a_command_may_bring_its_own_database_and_network() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLANA_NETWORK", "nonsense")
        patch.setenv("BTC_ORACLE_ACCOUNT", "nonsense")
        settings = load_settings(database="embedded", own_network=True)
    assert settings.embedded
    assert settings.node.network == "mainnet-beta"


def test_the_schema_role_defaults_to_the_daemons(load: Load) -> None:
    assert load().database.schema_url.get_secret_value() == DSN
    other = "postgresql://owner:pw@db.example/quantdesk"
    assert load(SCHEMA_DATABASE_URL=other).database.schema_url.get_secret_value() == other


@pytest.mark.parametrize("network", list(PUBLIC_RPC))
def test_without_rpc_url_the_networks_public_endpoint_is_used(load: Load, network: str) -> None:
    node = load(SOLANA_NETWORK=network).node
    assert [url.get_secret_value() for url in node.rpc_urls] == [PUBLIC_RPC[network]]


@pytest.mark.parametrize(
    ("rpc", "websocket"),
    [
        ("https://api.mainnet-beta.solana.com", "wss://api.mainnet-beta.solana.com"),
        ("http://127.0.0.1:8899", "ws://127.0.0.1:8900"),
        ("http://[::1]:8899", "ws://[::1]:8900"),
        ("https://rpc.example/v2/KEY?api-key=K", "wss://rpc.example/v2/KEY?api-key=K"),
        ("https://user:pw@rpc.example:443/", "wss://user:pw@rpc.example:444/"),
    ],
)
def test_a_websocket_url_follows_from_the_rpc_url(rpc: str, websocket: str) -> None:
    assert websocket_url(rpc) == websocket


def test_lists_of_endpoints_keep_their_order(load: Load) -> None:
    node = load(
        RPC_URL="https://a.example, https://b.example,", WS_URL="wss://wa.example,wss://wb.example"
    ).node
    assert [url.get_secret_value() for url in node.rpc_urls] == ["https://a.example", "https://b.example"]
    assert [url.get_secret_value() for url in node.ws_urls] == ["wss://wa.example", "wss://wb.example"]


def test_accounts_follow_from_the_feed_id_newest_generation_first(load: Load) -> None:
    feeds = load().markets[1].feeds
    assert [(feed.generation, feed.pubkey) for feed in feeds] == [
        (Generation.CORE_UPGRADED, "7odryi4WfoMFHtv2eubdMgP1pqQMmdiXSK1N2tqZ2nRH"),
        (Generation.CORE, "42amVS4KgzR9rA28tkVYqVXjq9Qa8dcZQMbH5EYFX6XC"),
    ]


def test_an_account_of_the_environment_is_the_only_feed(load: Load) -> None:
    (feed,) = load(SOL_ORACLE_ACCOUNT=SOME_ACCOUNT).markets[2].feeds
    assert (feed.pubkey, feed.generation, feed.configured_by) == (
        SOME_ACCOUNT,
        Generation.CORE,
        "SOL_ORACLE_ACCOUNT",
    )


def test_a_market_has_its_own_thresholds_and_shares_the_others(load: Load) -> None:
    toml = f"""
    [acceptance]
    uncertain_bp = 150
    [use]
    fresh = 10
    [[markets]]
    symbol = "ETH-PERP"
    base_asset = "ETH"
    feed_id = "{ETH_FEED}"
    band_bp = 250
    funding_interval = 28800
    acceptance = {{ wide_bp = 12.5 }}
    use = {{ stale = 60 }}
    """
    (market,) = load(toml).markets
    assert (market.storage.uncertain_ppm, market.storage.wide_ppm) == (15_000, 1_250)
    assert (market.use.fresh, market.use.stale) == (10 * SECOND, 60 * SECOND)
    assert (market.mark_band, market.funding_interval) == (Decimal("0.025"), 28_800)


def test_a_feed_id_may_begin_with_0x_and_be_in_capitals(load: Load) -> None:
    toml = f'[[markets]]\nsymbol = "ETH-PERP"\nbase_asset = "ETH"\nfeed_id = "0x{ETH_FEED.upper()}"\n'
    assert load(toml).markets[0].feeds[0].feed_id == bytes.fromhex(ETH_FEED)


def test_where_the_state_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_state_dir() == Path("/home/somebody/.local/state/quantdesk-oracle")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_state_dir() == Path("/state/quantdesk-oracle")
    monkeypatch.setenv("QUANTDESK_STATE_DIR", "/own")
    assert default_state_dir() == Path("/own")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:sesame@host/db",
        "postgresql://user:ses@sesame@host/db",
        "postgresql://user:ses/sesame@host/db",
        "postgresql://user:a:sesame@host:5432,other:5432/db?sslmode=require",
        "postgresql://host/db?user=me&password=sesame&sslmode=require",
        "postgresql://user@host/db?sslpassword=sesame",
        "postgresql://:sesame@host/db",
    ],
)
def test_a_redacted_dsn_holds_no_password(dsn: str) -> None:
    redacted = redact_dsn(dsn)
    assert "sesame" not in redacted
    assert "host" in redacted


def test_an_endpoint_is_called_by_host_and_port_alone() -> None:
    assert endpoint_name("https://user:pw@rpc.example:8899/v2/KEY?api-key=K") == "rpc.example:8899"


def test_every_secret_is_known_to_the_log(load: Load) -> None:
    settings = load(
        RPC_URL="https://rpc.example/?api-key=rpc-key",
        WS_URL="wss://rpc.example/ws-key",
        SUPABASE_ANON_KEY="anon-key",
        SUPABASE_SERVICE_ROLE_KEY="service-key",
    )
    together = " ".join(settings.secrets)
    for secret in ("rpc-key", "ws-key", "pw-of-dsn", "anon-key", "service-key"):
        assert secret in together
        assert secret not in repr(settings)
