"""Settings that cannot be used: each is a sentence with key, value and what was expected, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantdesk_oracle.config import load_settings
from quantdesk_oracle.errors import ConfigError
from tests.unit.config.conftest import Load, Problems

MARKET = '[[markets]]\nsymbol = "X-PERP"\nbase_asset = "X"\n'
FEED = 'feed_id = "' + "ab" * 32 + '"\n'


def test_everything_that_is_wrong_is_said_at_once(problems: Problems) -> None:
    said = problems(
        '[solana]\nnetwrk = "devnet"\n[http]\nport = 70000\n[mark]\ninterval = 0.7\n',
        DATABASE_URL="mysql://x",
        RPC_URL="ftp://rpc.example",
        QUANTDESK_LOG_LEVEL="loud",
        SOL_ORACLE_ACCOUNT="abc",
    )
    for part in (
        "solana.netwrk",
        "http.port",
        "mark.interval",
        "DATABASE_URL",
        "log.level",
        "SOL_ORACLE_ACCOUNT",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[solana]\nnetwrk = 1\n", "solana.netwrk is no key that is known"),
        ("[sollana]\nnetwork = 1\n", "sollana is no key that is known"),
        ("solana = 5\n", "solana is '5'"),
        ('[solana]\nnetwork = "mainnet"\n', "solana.network (or SOLANA_NETWORK) is 'mainnet'"),
        ("[solana]\npoll_interval = 0\n", "solana.poll_interval is '0'"),
        ("[solana]\npoll_interval = nan\n", "solana.poll_interval"),
        ("[solana]\npoll_interval = inf\n", "solana.poll_interval"),
        ('[solana]\npoll_interval = "soon"\n', "solana.poll_interval is 'soon'"),
        ('[solana]\ncommitment = "sure"\n', "solana.commitment is 'sure'"),
        ("[database]\npool_size = 1\n", "database.pool_size is '1'"),
        ("[database]\npool_size = 2.5\n", "database.pool_size is '2.5'"),
        ("[database]\nqueue_rows = true\n", "database.queue_rows"),
        ("[http]\nport = -1\n", "http.port (or QUANTDESK_HTTP_PORT) is '-1'"),
        ("[acceptance]\nwide_bp = 0.001\n", "acceptance.wide_bp is '0.001'"),
        ("[acceptance]\nwide_bp = 0\n", "acceptance.wide_bp is '0'"),
        ("[use]\nfresh = 200\n", "stale is 180, expected at least fresh, 200"),
        ("[mark]\ninterval = 0\n", "mark.interval is '0'"),
        ("[mark]\ninterval = 0.7\n", "is no grid"),
        ("[funding]\ninterval = 7\n", "is no funding interval"),
        ("[funding]\ninterval = 86401\n", "is no funding interval"),
        ("[funding]\ninterval = 0\n", "funding.interval is '0'"),
        ("markets = []\n", "markets"),
        (MARKET, "market X-PERP has no feed"),
        (MARKET + FEED + MARKET + FEED, "X-PERP stands there more than once"),
        (MARKET + 'feed_id = "abc"\n', "is no feed id"),
        (MARKET + 'accounts = ["abc"]\n', "is no account"),
        (MARKET + FEED + 'generations = ["legacy"]\n', "generations"),
        (MARKET + FEED + "use = { fresh = 300 }\n", "X-PERP: stale is 180, expected at least fresh, 300"),
        (MARKET.replace("X-PERP", "<script>") + FEED, "markets.0.symbol is '<script>'"),
        ("[[markets]]\n", "symbol"),
        ("[log\n", "is no TOML"),
        ("[log]\nlevel = 'a'\nlevel = 'b'\n", "is no TOML"),
        ("x = " + "[" * 5_000, "is no TOML"),
    ],
)
def test_a_bad_file_is_told_by_key_and_value(problems: Problems, toml: str, said: str) -> None:
    assert said in problems(toml)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SOLANA_NETWORK", "mainnet", "(or SOLANA_NETWORK) is 'mainnet'"),
        ("QUANTDESK_HTTP_PORT", "http", "QUANTDESK_HTTP_PORT is 'http'"),
        ("QUANTDESK_HTTP_PORT", "70000", "(or QUANTDESK_HTTP_PORT) is '70000'"),
        ("QUANTDESK_HTTP_PORT", "9" * 5_000, "QUANTDESK_HTTP_PORT"),
        ("QUANTDESK_LOG_LEVEL", "loud", "(or QUANTDESK_LOG_LEVEL) is 'loud'"),
        ("QUANTDESK_LOG_FORMAT", "xml", "(or QUANTDESK_LOG_FORMAT) is 'xml'"),
        ("BTC_ORACLE_ACCOUNT", "0OIl", "BTC_ORACLE_ACCOUNT is '0OIl'"),
        ("RPC_URL", "wss://rpc.example", "solana.rpc_urls[0] is no URL"),
        ("RPC_URL", "https://rpc.example:99999", "solana.rpc_urls[0] is no URL"),
        ("RPC_URL", "https://[::1", "solana.rpc_urls[0] is no URL"),
        ("WS_URL", "https://rpc.example", "solana.ws_urls[0] is no URL"),
        ("DATABASE_URL", "postgres", "DATABASE_URL is neither"),
        ("DATABASE_URL", "postgresql://user:p[ss@host/db", "DATABASE_URL"),
        ("DATABASE_URL", "postgresql://user:pw@host:port/db", "DATABASE_URL"),
        ("SCHEMA_DATABASE_URL", "mysql://host", "SCHEMA_DATABASE_URL"),
    ],
)
def test_a_bad_variable_is_told_by_name(problems: Problems, name: str, value: str, said: str) -> None:
    assert said in problems(**{name: value})


def test_as_many_websocket_urls_as_rpc_urls(problems: Problems) -> None:
    said = problems(RPC_URL="https://a.example,https://b.example", WS_URL="wss://a.example")
    assert "WS_URL names 1 endpoints and RPC_URL 2" in said


@pytest.mark.parametrize(
    "variables",
    [
        {"RPC_URL": "ftp://rpc.example/?api-key=sesame"},
        {"WS_URL": "https://rpc.example/sesame"},
        {"DATABASE_URL": "mysql://user:sesame@host/db"},
        {"DATABASE_URL": "postgresql://user:sesame[@host/db"},
        {"SCHEMA_DATABASE_URL": "mysql://user:sesame@host/db"},
    ],
)
def test_a_problem_holds_no_secret(problems: Problems, variables: dict[str, str]) -> None:
    assert "sesame" not in problems(**variables)


@pytest.mark.parametrize(
    "toml",
    [
        'rpc_urls = "https://rpc.example/sesame"\n',
        'rpc_urls = [["https://rpc.example/sesame"]]\n',
        "ws_urls = {sesame = 1}\n",
        'endpoints = ["https://rpc.example/sesame"]\n',
        'endpoints = [{name = "a", rpc_url = ["https://rpc.example/sesame"]}]\n',
    ],
)
def test_a_url_of_the_wrong_type_is_not_repeated(problems: Problems, toml: str) -> None:
    said = problems("[solana]\n" + toml)
    assert "solana." in said
    assert "sesame" not in said


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: cannot be read .No such file"):
        load_settings(config_file=tmp_path / "absent.toml", database="embedded")
    with pytest.raises(ConfigError, match=r"absent.env: no such file; check --env-file"):
        load_settings(env_file=tmp_path / "absent.env", database="embedded")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no TOML"):
        load_settings(config_file=file, database="embedded")
    with pytest.raises(ConfigError, match="binary: "):
        load_settings(env_file=file, database="embedded")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(config_file=tmp_path, database="embedded")


def test_the_file_may_be_named_by_the_environment(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[http]\nport = 1234\n")
    settings = load(QUANTDESK_CONFIG=str(file))
    assert (settings.http_port, settings.config_file) == (1234, file)
