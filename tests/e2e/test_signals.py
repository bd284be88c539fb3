"""Signals to a real process: SIGHUP reads settings again and never kills; a second SIGTERM does not wait."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.e2e.conftest import Errors, Program, stored_until
from tests.e2e.test_demo import wait_for_signal_handlers
from tests.postgres import PostgresServer, execute


def until_logged(errors: Errors, event: str, *, times: int = 1, within: float = 30) -> list[dict[str, Any]]:
    """Wait until the first process has logged ``event`` so many times; the lines of it."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = [line for line in errors(0) if line["event"] == event]
        if len(found) >= times:
            return found
        time.sleep(0.05)
    pytest.fail(f"{event} was not logged: {errors(0)[-5:]}")


def test_thresholds_are_taken_over_and_the_rest_is_named(
    program: Program, state_dir: Path, errors: Errors, tmp_path: Path
) -> None:
    config = tmp_path / "quantdesk.toml"
    config.write_text("[use]\nfresh = 75\n")
    process = program("run", "--demo", "--json", "--state-dir", state_dir, "--config", config)
    until_logged(errors, "daemon.started")
    config.write_text("[use]\nfresh = 60\n[mark]\ninterval = 2\n")
    process.send_signal(signal.SIGHUP)
    changed = until_logged(errors, "threshold.changed", times=3)
    assert {line["market"] for line in changed} == {"BTC-PERP", "ETH-PERP", "SOL-PERP"}
    assert (changed[0]["threshold"], changed[0]["before"], changed[0]["now"]) == (
        "fresh",
        "75000000",
        "60000000",
    )
    assert until_logged(errors, "settings.kept")[0]["settings"] == ["mark_interval"]
    config.write_text("[use]\nfresh = 0\n")
    process.send_signal(signal.SIGHUP)
    assert "use.fresh" in until_logged(errors, "settings.refused")[0]["problems"][0]
    process.terminate()
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(out)["rows"]["system_events"] > 0


MARKET = """
[[markets]]
symbol = "{0}-PERP"
base_asset = "{0}"
feed_id = "{1}"
"""
BTC = MARKET.format("BTC", "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43")
ETH = MARKET.format("ETH", "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace")


def test_a_market_comes_and_another_one_leaves_without_a_restart(
    program: Program, state_dir: Path, errors: Errors, tmp_path: Path
) -> None:
    config = tmp_path / "quantdesk.toml"
    config.write_text(BTC)
    process = program("run", "--demo", "--json", "--state-dir", state_dir, "--config", config)
    asyncio.run(stored_until(state_dir, has_a_sample))
    config.write_text(ETH)
    process.send_signal(signal.SIGHUP)
    assert [line["market"] for line in until_logged(errors, "market.added")] == ["ETH-PERP"]
    assert [line["market"] for line in until_logged(errors, "market.leaving")] == ["BTC-PERP"]
    assert [line["market"] for line in until_logged(errors, "market.removed", within=60)] == ["BTC-PERP"]
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    asyncio.run(assert_one_has_followed_the_other(json.loads(out)["dsn"]))


async def has_a_sample(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM premium_samples)"))


async def assert_one_has_followed_the_other(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        marks = await connection.fetch(
            "SELECT m.symbol, count(*) AS seconds, min(k.created_at), max(k.created_at) FROM mark_prices AS k"
            " JOIN markets AS m ON m.id = k.market_id GROUP BY m.symbol ORDER BY m.symbol"
        )
        settled = await connection.fetchval(
            "SELECT max(r.created_at) FROM funding_rates AS r JOIN markets AS m ON m.id = r.market_id"
            " WHERE m.symbol = 'BTC-PERP'"
        )
    finally:
        await connection.close()
    btc, eth = marks
    assert (btc["symbol"], eth["symbol"]) == ("BTC-PERP", "ETH-PERP")
    assert (settled - btc["max"]).total_seconds() == 1
    for market in marks:
        assert market["seconds"] == (market["max"] - market["min"]).total_seconds() + 1
    assert eth["max"] > settled


def test_a_sighup_during_start_kills_nothing(program: Program, state_dir: Path, errors: Errors) -> None:
    process = program("run", "--demo", "--json", "--for", "3s", "--state-dir", state_dir)
    wait_for_signal_handlers(process)
    for _ in range(20):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "rows" in json.loads(out)
    assert until_logged(errors, "settings.reread")


def test_a_second_sigterm_leaves_at_once(
    program: Program, state_dir: Path, errors: Errors, postgres_18: PostgresServer
) -> None:
    asyncio.run(execute(postgres_18.dsn(), "CREATE DATABASE left_at_once TEMPLATE with_schema"))
    process = program(
        "run",
        "--json",
        "--state-dir",
        state_dir,
        DATABASE_URL=postgres_18.dsn("left_at_once"),
        SOLANA_NETWORK="localnet",
        RPC_URL="http://127.0.0.1:1",
    )
    until_logged(errors, "daemon.started")
    postgres_18.freeze()  # now draining takes as long as it may
    try:
        process.terminate()
        until_logged(errors, "daemon.stopping")
        process.terminate()
        assert process.wait(5) == 1
    finally:
        postgres_18.thaw()
    asyncio.run(execute(postgres_18.dsn(), "DROP DATABASE left_at_once WITH (FORCE)"))
    assert [line for line in errors(0) if line["event"] == "daemon.stopped"] == []
