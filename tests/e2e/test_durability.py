"""Whatever is killed, frozen or cut off: the tables equal the ledger afterwards."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.store import schema
from tests.e2e import truth, world
from tests.e2e.conftest import Program
from tests.postgres import TEMPLATE, PostgresServer, execute

Errors = Callable[[int], list[dict[str, Any]]]
COMPLAINTS = ("warning", "error", "critical")


@pytest.fixture
async def dsn(postgres_18: PostgresServer) -> AsyncIterator[str]:
    """A fresh database whose markets settle every half minute."""
    name = f"test_{secrets.token_hex(6)}"
    await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await world.shorten_funding(postgres_18.dsn(name))
    yield postgres_18.dsn(name)
    await execute(postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


async def test_two_daemons_write_the_same_rows_once(
    program: Program, dsn: str, tmp_path: Path, errors: Errors
) -> None:
    node = await world.start_node(program, tmp_path)
    daemons = [world.Daemon(program, node, tmp_path / name, dsn) for name in ("one", "two")]
    for daemon in daemons:
        daemon.start("--for", "40s")
    summaries = await asyncio.gather(*[daemon.ended() for daemon in daemons])
    node.stop()
    for number in (1, 2):
        assert [line for line in errors(number) if line["level"] in COMPLAINTS] == []
    await world.assert_no_second_of_marks_is_missing(dsn)
    await world.assert_tables_are_true(dsn, node.ledger, whole=False)
    async with world.connected(dsn) as connection:
        for table in ("oracle_prices", "mark_prices", "premium_samples", "funding_rates", "system_events"):
            written = sum(summary["rows"][table] for summary in summaries)
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == written, table
        for symbol in world.MARKETS:
            boundaries = await truth.funding_boundaries(connection, symbol)
            assert len(boundaries) == len(set(boundaries)) >= 1
        await assert_prints_lie_close(connection, node.ledger)


async def assert_prints_lie_close(connection: Any, ledger: Path) -> None:
    """Between the first and the last stored print of the ledger none is missing."""
    stored = await truth.stored_prints(connection)
    first, last = min(row[2] for row in stored), max(row[2] for row in stored)
    expected = [
        truth.expected_print(line) for line in truth.ledger_rows(ledger) if first <= line["slot"] <= last
    ]
    # Of the last slot, one market's print may have come after the daemons had ended.
    inner = [row for row in expected if row[2] < last]
    assert sorted(row for row in stored if row[2] < last) == sorted(inner)


@pytest.fixture
async def killable_dsn(killable: PostgresServer) -> str:
    async with world.connected(killable.dsn()) as connection:
        await schema.apply(connection)
    await world.shorten_funding(killable.dsn())
    return killable.dsn()


async def test_an_outage_of_the_database_costs_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path, errors: Errors
) -> None:
    """kill -9 of the server, fifteen seconds of nothing, kill -9 of the daemon in the middle of them."""
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", killable_dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 12)
    killable.kill()
    await asyncio.sleep(8)
    status = await daemon.status()
    assert status["ready"] is False
    assert "database_unreachable" in [reason["code"] for reason in status["reasons"]]
    await asyncio.to_thread(killable.start)
    await world.until_spool_is_empty(daemon)
    killable.kill()
    await asyncio.sleep(4)
    spooled = world.rows_on_disk(daemon)
    daemon.kill()
    assert world.rows_on_disk(daemon) >= spooled > 0
    await asyncio.to_thread(killable.start)
    before = len(await world.prints(killable_dsn))
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", before + 20)
    await world.until_spool_is_empty(daemon)
    await daemon.stop()
    node.stop()
    await world.assert_tables_are_true(killable_dsn, node.ledger, whole=False)
    await world.assert_only_missing_while_down(killable_dsn, node.ledger, seconds=12)
    assert "database.lost" in await world.event_types(killable_dsn)
    assert "database.restored" in await world.event_types(killable_dsn)


async def test_stopped_while_the_database_is_away_nothing_is_lost(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", killable_dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 6)
    killable.kill()
    await asyncio.sleep(3)
    node.stop()
    summary = await daemon.stop(within=12)
    assert world.rows_on_disk(daemon) > 0
    await asyncio.to_thread(killable.start)
    idle = await world.start_node(program, tmp_path / "other", seed=1)
    daemon.node = idle
    daemon.start()
    await world.until_spool_is_empty(daemon)
    await daemon.stop()
    idle.stop()
    ledger = truth.ledger_rows(node.ledger)
    first = min(row[2] for row in await world.prints(killable_dsn))
    stored = set(await world.prints(killable_dsn))
    missing = [line for line in ledger if line["slot"] >= first and truth.expected_print(line) not in stored]
    assert missing == []
    assert summary["updates"] >= 6


async def test_a_frozen_database_costs_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", killable_dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 6)
    killable.freeze()
    await asyncio.sleep(6)
    assert world.rows_on_disk(daemon) > 0
    killable.thaw()
    await world.until_spool_is_empty(daemon)
    await daemon.stop()
    node.stop()
    await world.assert_tables_are_true(killable_dsn, node.ledger, whole=False)
    await world.assert_only_missing_while_down(killable_dsn, node.ledger, seconds=0)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_ten_minutes_without_the_database_cost_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", killable_dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 12)
    killable.kill()
    await asyncio.sleep(600)
    waiting = world.rows_on_disk(daemon)
    assert waiting >= 3 * 590
    await asyncio.to_thread(killable.start)
    began = time.monotonic()
    await world.until_spool_is_empty(daemon)
    print(f"\n{waiting} rows drained in {time.monotonic() - began:.1f} s")
    await daemon.stop()
    node.stop()
    await world.assert_tables_are_true(killable_dsn, node.ledger, whole=False)
    await world.assert_only_missing_while_down(killable_dsn, node.ledger, seconds=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_minute_of_a_frozen_database_costs_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", killable_dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 12)
    killable.freeze()
    await asyncio.sleep(60)
    assert world.rows_on_disk(daemon) >= 3 * 50
    killable.thaw()
    await world.until_spool_is_empty(daemon)
    await daemon.stop()
    node.stop()
    await world.assert_tables_are_true(killable_dsn, node.ledger, whole=False)
    await world.assert_only_missing_while_down(killable_dsn, node.ledger, seconds=0)


async def test_stopped_while_the_database_is_frozen_it_ends_in_time_and_loses_nothing(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", killable_dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 6)
    killable.freeze()
    try:
        await asyncio.sleep(1)
        summary = await daemon.stop(within=12)
    finally:
        killable.thaw()
    assert world.rows_on_disk(daemon) > 0
    received = summary["updates"]
    daemon.start()
    await world.until_spool_is_empty(daemon)
    await daemon.stop()
    node.stop()
    assert len(await world.prints(killable_dsn)) >= received


async def test_a_password_is_nowhere_but_in_the_environment(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    """Planted in the DSN; looked for in logs, arguments, status, metrics, events and the spool, over an outage."""
    secret = "pl4nted-s3cret-of-the-dsn"
    node = await world.start_node(program, tmp_path)
    dsn = killable_dsn.replace("postgres@", f"postgres:{secret}@")
    daemon = world.Daemon(program, node, tmp_path / "one", dsn)
    daemon.start()
    await world.until_count(killable_dsn, "oracle_prices", 6)
    killable.kill()
    await asyncio.sleep(4)
    assert daemon.process is not None
    said = [Path(f"/proc/{daemon.process.pid}/cmdline").read_text()]  # noqa: ASYNC240
    said += [await daemon.page(path) for path in ("/", "/status", "/charts", "/readyz", "/metrics")]
    said.append((tmp_path / "one" / "spool.sqlite3").read_bytes().decode("latin-1"))
    await asyncio.to_thread(killable.start)
    await world.until_spool_is_empty(daemon)
    said.append(str(await daemon.stop()))
    node.stop()
    said += [path.read_text() for path in tmp_path.glob("stderr-*")]  # noqa: ASYNC240
    async with world.connected(killable_dsn) as connection:
        for table in ("system_events", "daemon_instances"):
            said += [str(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
    assert "database.lost" in "".join(said)
    assert [text for text in said if secret in text] == []
