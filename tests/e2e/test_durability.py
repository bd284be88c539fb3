"""Whatever is killed, frozen or cut off: the tables equal the ledger afterwards."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.store import schema
from tests.e2e import truth, world
from tests.e2e.conftest import Errors, Program
from tests.postgres import TEMPLATE, PostgresServer, execute, free_port

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
    last = max(row[2] for row in stored)
    # Of the last slot, one market's print may have come after the daemons had ended.
    inner = [row for row in truth.pushed_since(ledger, stored) if row[2] < last]
    assert sorted(row for row in stored if row[2] < last) == sorted(inner)


@pytest.fixture
async def killable_dsn(killable: PostgresServer) -> str:
    async with world.connected(killable.dsn()) as connection:
        await schema.apply(connection)
    await world.shorten_funding(killable.dsn())
    return killable.dsn()


async def started(program: Program, dsn: str, folder: Path) -> tuple[world.Node, world.Daemon]:
    """A local node and a daemon that has stored some of its prints."""
    node = await world.start_node(program, folder)
    daemon = world.Daemon(program, node, folder / "one", dsn)
    daemon.start()
    await world.until_count(dsn, "oracle_prices", 12)
    return node, daemon


async def assert_nothing_lost(daemon: world.Daemon, node: world.Node, dsn: str, *, down: float = 0) -> None:
    """Once the spool is empty and both have ended, no print is missing but of the ``down`` seconds without a daemon."""
    await world.until_spool_is_empty(daemon)
    await daemon.stop()
    node.stop()
    await world.assert_tables_are_true(dsn, node.ledger, whole=False)
    await world.assert_only_missing_while_down(dsn, node.ledger, seconds=down)


async def test_an_outage_of_the_database_costs_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path, errors: Errors
) -> None:
    """kill -9 of the server, fifteen seconds of nothing, kill -9 of the daemon in the middle of them."""
    node, daemon = await started(program, killable_dsn, tmp_path)
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
    await assert_nothing_lost(daemon, node, killable_dsn, down=12)
    assert "database.lost" in await world.event_types(killable_dsn)
    assert "database.restored" in await world.event_types(killable_dsn)


async def test_stopped_while_the_database_is_away_nothing_is_lost(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node, daemon = await started(program, killable_dsn, tmp_path)
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
    stored = await world.prints(killable_dsn)
    assert set(truth.pushed_since(node.ledger, stored)) <= set(stored)
    assert summary["updates"] >= 6


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=(pytest.mark.slow, pytest.mark.timeout(600)))])
async def test_a_frozen_database_costs_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path, seconds: int
) -> None:
    node, daemon = await started(program, killable_dsn, tmp_path)
    killable.freeze()
    await asyncio.sleep(seconds)
    assert world.rows_on_disk(daemon) >= max(1, 3 * (seconds - 10))
    killable.thaw()
    await assert_nothing_lost(daemon, node, killable_dsn)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_ten_minutes_without_the_database_cost_no_print(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node, daemon = await started(program, killable_dsn, tmp_path)
    killable.kill()
    await asyncio.sleep(600)
    waiting = world.rows_on_disk(daemon)
    assert waiting >= 3 * 590
    await asyncio.to_thread(killable.start)
    began = time.monotonic()
    await world.until_spool_is_empty(daemon)
    print(f"\n{waiting} rows drained in {time.monotonic() - began:.1f} s")
    await assert_nothing_lost(daemon, node, killable_dsn)


async def test_stopped_while_the_database_is_frozen_it_ends_in_time_and_loses_nothing(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    node, daemon = await started(program, killable_dsn, tmp_path)
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


async def test_secrets_are_nowhere_but_in_the_environment(
    program: Program, killable: PostgresServer, killable_dsn: str, tmp_path: Path
) -> None:
    """Planted in every URL and key; looked for in logs, arguments, pages, events and files, over outages."""
    planted = {name: f"pl4nted-s3cret-of-{name}" for name in ("dsn", "rpc", "ws", "hermes", "nats")}
    hermes = f'[hermes]\nsecond_source = true\nurls = ["http://127.0.0.1:{free_port()}"]\n'
    node = await world.start_node(program, tmp_path, more=hermes)
    variables = node.variables
    variables["RPC_URL"] += f"/?api-key={planted['rpc']}"
    variables["WS_URL"] += f"/{planted['ws']}"
    variables["HERMES_API_KEY"] = planted["hermes"]
    dsn = killable_dsn.replace("postgres@", f"postgres:{planted['dsn']}@")
    broker = f"nats://publisher:{planted['nats']}@127.0.0.1:{free_port()}"
    daemon = world.Daemon(program, node, tmp_path / "one", dsn)
    daemon.start()
    publisher = program(
        "publish", "--state-dir", tmp_path / "two", DATABASE_URL=dsn, NATS_URL=broker, **variables
    )
    await world.until_count(killable_dsn, "oracle_prices", 6)
    killable.kill()
    await asyncio.sleep(4)
    assert daemon.process is not None
    processes = (daemon.process, publisher)
    said = [Path(f"/proc/{process.pid}/cmdline").read_text() for process in processes]  # noqa: ASYNC240
    said += [await daemon.page(path) for path in ("/", "/status", "/charts", "/readyz", "/metrics")]
    said.append((tmp_path / "one" / "spool.sqlite3").read_bytes().decode("latin-1"))
    await asyncio.to_thread(killable.start)
    await world.until_spool_is_empty(daemon)
    node.stop()
    await asyncio.sleep(3)
    doctor = program("doctor", "--json", "--state-dir", tmp_path / "three", DATABASE_URL=dsn, **variables)
    said.append((await asyncio.to_thread(doctor.communicate, timeout=60))[0])
    said.append(str(await daemon.stop()))
    publisher.terminate()
    said.append((await asyncio.to_thread(publisher.communicate, timeout=20))[0])
    said += [path.read_text() for path in tmp_path.glob("stderr-*")]  # noqa: ASYNC240
    async with world.connected(killable_dsn) as connection:
        for table in ("system_events", "daemon_instances"):
            said += [str(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
    everything = "".join(said)
    for mentioned in ("database.lost", "node.unreachable", "hermes.unreachable"):
        assert mentioned in everything, mentioned
    assert {name for name, secret in planted.items() if secret in everything} == set()


async def test_the_rights_of_the_daemons_role_are_enough(
    program: Program, dsn: str, tmp_path: Path, errors: Errors
) -> None:
    """A login of the role that the schema makes, over boundaries, healing and upkeep: no complaint, rows everywhere."""
    login = f"daemon_{secrets.token_hex(4)}"
    await execute(dsn, f"CREATE ROLE {login} LOGIN IN ROLE quantdesk_oracle")
    node = await world.start_node(program, tmp_path)
    daemon = world.Daemon(program, node, tmp_path / "one", dsn.replace("postgres@", f"{login}@"))
    daemon.start()
    await world.until_count(dsn, "oracle_prices", 12)
    daemon.kill()
    await asyncio.sleep(3)
    daemon.start()
    await world.until_count(dsn, "funding_rates", 3)
    await world.until_gaps_are_closed(dsn)
    await daemon.stop()
    node.stop()
    for number in (1, 2):
        assert [line for line in errors(number) if line["level"] in COMPLAINTS] == []
    async with world.connected(dsn) as connection:
        for table in WRITTEN:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}"), table
    await execute(dsn, f"DROP OWNED BY {login}", f"DROP ROLE {login}")


WRITTEN = (
    "oracle_prices",
    "oracle_price_heads",
    "mark_prices",
    "mark_price_heads",
    "premium_samples",
    "funding_rates",
    "funding_parameters",
    "system_events",
    "oracle_gaps",
    "oracle_watermarks",
    "daemon_instances",
)
"""Every table that a daemon writes."""
