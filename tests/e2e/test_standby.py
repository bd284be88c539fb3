"""The primary dies, its standby is promoted: daemons whose DSN names both go on there, and no print is missing.

Replication is asynchronous: what the primary had committed and not sent is gone with it, and comes back from the
chain's history, at the latest with the next sweep.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from quantdesk_oracle.store import schema
from tests.chaos.proxy import Link
from tests.e2e import truth, world
from tests.e2e.conftest import Program
from tests.postgres import PostgresServer, programs

SETTINGS = "[solana]\nsweep_interval = 15\n"


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    folder = programs(15)
    if folder is None or not (folder / "pg_basebackup").is_file():
        pytest.skip("no PostgreSQL 15 with pg_basebackup is installed (Debian: apt-get install postgresql)")
    server = PostgresServer(folder)
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def replication(primary: PostgresServer) -> AsyncIterator[Link]:
    async with Link(primary.port).running() as link:
        yield link


@pytest.fixture
async def standby(primary: PostgresServer, replication: Link) -> AsyncIterator[PostgresServer]:
    url = primary.dsn(port=replication.port)
    server = await asyncio.to_thread(PostgresServer, primary.programs, primary=url)
    await asyncio.to_thread(server.start)
    yield server
    server.remove()


async def test_daemons_go_on_at_the_promoted_standby_and_no_print_is_missing(
    program: Program, primary: PostgresServer, standby: PostgresServer, replication: Link, tmp_path: Path
) -> None:
    async with world.connected(primary.dsn()) as connection:
        await schema.apply(connection)
    await world.shorten_funding(primary.dsn())
    await asyncio.sleep(1)
    both = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"
    node = await world.start_node(program, tmp_path, more=SETTINGS)
    daemons = [world.Daemon(program, node, tmp_path / name, both) for name in ("one", "two")]
    for daemon in daemons:
        daemon.start()
    await world.until_count(primary.dsn(), "mark_prices", 24)
    replication.cut()
    seen = await world.prints(standby.dsn())
    await asyncio.sleep(4)
    committed = await world.prints(primary.dsn())
    await asyncio.to_thread(primary.kill)
    assert len(committed) > len(seen)
    async with world.connected(standby.dsn()) as connection:
        await connection.fetch("SELECT pg_promote()")
        promoted = time.monotonic()
        left = len(await truth.stored_prints(connection))
        assert left < len(committed)
    await world.until_count(standby.dsn(), "oracle_prices", left + 1)
    print(
        f"\n{len(committed) - left} prints lost with the primary; written on after {time.monotonic() - promoted:.1f} s"
    )
    for daemon in daemons:
        await world.until_spool_is_empty(daemon)
    await world.until_count(standby.dsn(), "oracle_prices", len(committed) + 60)
    await world.until_gaps_are_closed(standby.dsn())
    pushed = truth.pushed_since(node.ledger, await world.prints(standby.dsn()))
    async with asyncio.timeout(90):
        while not set(pushed) <= set(await world.prints(standby.dsn())):  # noqa: ASYNC110
            await asyncio.sleep(1)
    node.stop()
    for daemon in daemons:
        await daemon.stop()
    assert await world.assert_tables_are_true(standby.dsn(), node.ledger, whole=False) >= len(pushed)
    assert await world.event_types(standby.dsn()) & {"gap.found", "gap.closed"}
