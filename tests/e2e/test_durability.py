"""Whatever is killed, frozen or cut off: the tables equal the ledger afterwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

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
