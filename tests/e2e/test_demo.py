"""`quantdesk-oracle run --demo`, as a process, held against what its node says that it pushed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.e2e import truth
from tests.e2e.conftest import Program

MARKETS = ("BTC-PERP", "ETH-PERP", "SOL-PERP")
INTERVAL = timedelta(seconds=30)


async def test_fifty_seconds_of_demo_equal_the_ledger(
    program: Program, state_dir: Path, errors: Callable[[int], list[dict[str, Any]]]
) -> None:
    # A start just before a boundary has no sample in that interval: the next one's rate comes 35 s later.
    process = program("run", "--demo", "--for", "50s", "--json", "--state-dir", state_dir)
    out, _ = process.communicate(timeout=120)
    ended = datetime.now().astimezone()
    assert process.returncode == 0, errors(0)
    summary = json.loads(out)
    assert Path(summary["ledger"]) == state_dir / "ledger.jsonl"
    assert summary["rejected"] == {}
    connection = await asyncpg.connect(summary["dsn"])
    try:
        prints = await truth.assert_prints_are_the_ledger(connection, state_dir / "ledger.jsonl")
        assert summary["rows"]["oracle_prices"] == summary["updates"] == prints
        marks = await truth.assert_marks_recompute(connection)
        assert summary["rows"]["mark_prices"] == marks
        assert await truth.assert_samples_recompute(connection) > 0
        await assert_the_market_lives(connection)
        assert summary["rows"]["funding_rates"] == await truth.assert_funding_recomputes(connection) > 0
        for symbol in MARKETS:
            await assert_the_market_is_whole(connection, symbol, ended)
        for table, count in summary["rows"].items():
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == count, table
    finally:
        await connection.close()
    assert [line for line in errors(0) if line["level"] in ("warning", "error", "critical")] == []


async def assert_the_market_lives(connection: asyncpg.Connection) -> None:
    """The order flow gives every market a book, and with it marks and premiums of its own."""
    for symbol in MARKETS:
        row = await connection.fetchrow(
            "SELECT count(k.best_bid) AS books, count(k.last_trade_price) AS trades,"
            " count(*) FILTER (WHERE k.mark_price <> k.oracle_price) AS moved FROM mark_prices AS k"
            " JOIN markets AS m ON m.id = k.market_id WHERE m.symbol = $1",
            symbol,
        )
        assert min(row) > 0, symbol
    assert await connection.fetchval("SELECT count(*) FROM premium_samples WHERE premium <> 0") > 0


async def assert_the_market_is_whole(connection: asyncpg.Connection, symbol: str, ended: datetime) -> None:
    first, last = await truth.assert_no_second_is_missing(connection, symbol)
    first_print = await connection.fetchval(
        "SELECT min(received_at) FROM oracle_prices WHERE market_id = (SELECT id FROM markets WHERE symbol = $1)",
        symbol,
    )
    assert first - first_print <= timedelta(seconds=5)
    stopped = await connection.fetchval(
        "SELECT created_at FROM system_events WHERE event_type = 'daemon.stopped'"
    )
    assert stopped - last <= timedelta(seconds=1.5)
    samples = await connection.fetchval(
        "SELECT min(created_at) FROM premium_samples WHERE market_id = (SELECT id FROM markets WHERE symbol = $1)",
        symbol,
    )
    expected, boundary = [], truth.EPOCH + ((samples - truth.EPOCH) // INTERVAL + 1) * INTERVAL
    while boundary <= last - timedelta(seconds=6):
        expected.append(boundary)
        boundary += INTERVAL
    settled = await truth.funding_boundaries(connection, symbol)
    assert settled[: len(expected)] == expected
    assert len(settled) - len(expected) in (0, 1)  # one more where the stop came 5 to 6 s after a boundary
    assert ended > last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_and_ends_with_zero(
    program: Program, state_dir: Path, number: signal.Signals
) -> None:
    process = program("run", "--demo", "--json", "--state-dir", state_dir)
    await until_rows(state_dir, 12)
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    summary = json.loads(out)
    connection = await asyncpg.connect(summary["dsn"])
    try:
        await truth.assert_prints_are_the_ledger(connection, state_dir / "ledger.jsonl")
    finally:
        await connection.close()


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8, 1.5, 2.5])
def test_a_signal_during_start_ends_with_zero(program: Program, state_dir: Path, delay: float) -> None:
    process = program("run", "--demo", "--json", "--state-dir", state_dir)
    wait_for_signal_handlers(process)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)  # initdb, once begun, is waited for: seconds, and more on a busy machine
    assert process.returncode == 0


def wait_for_signal_handlers(process: subprocess.Popen[str]) -> None:
    """Until the process catches SIGTERM: before that, Python itself is still starting."""
    while True:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.02)


async def test_a_killed_daemon_resumes_without_doubles(program: Program, state_dir: Path) -> None:
    for seen in (6, 18):
        process = program("run", "--demo", "--json", "--state-dir", state_dir)
        await until_rows(state_dir, seen)
        process.kill()
        process.wait()
    process = program("run", "--demo", "--json", "--for", "4s", "--state-dir", state_dir)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    connection = await asyncpg.connect(json.loads(out)["dsn"])
    try:
        stored = await truth.stored_prints(connection)
        assert len({row[:3] for row in stored}) == len(stored)
        assert set(stored) <= set(truth.pushed_since(state_dir / "ledger.jsonl", []))
        assert await connection.fetchval("SELECT count(DISTINCT id) FROM markets") == len(MARKETS)
        await truth.assert_marks_recompute(connection)
    finally:
        await connection.close()


async def until_rows(state_dir: Path, rows: int) -> None:
    """Until the embedded database holds at least ``rows`` oracle prices."""
    from quantdesk_oracle.store.embedded import EmbeddedServer

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        dsn = EmbeddedServer(state_dir).dsn()
        if dsn is not None:
            try:
                connection = await asyncpg.connect(dsn, timeout=5)
            except (OSError, asyncpg.PostgresError):
                connection = None
            if connection is not None:
                try:
                    if await connection.fetchval("SELECT count(*) FROM oracle_prices") >= rows:
                        return
                except asyncpg.UndefinedTableError:
                    pass
                finally:
                    await connection.close()
        await asyncio.sleep(0.1)
    pytest.fail(f"no {rows} rows within a minute")
