"""A daemon on a foreign node: real transactions followed and read back, and a node that is started afresh below it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import world
from tests.e2e.conftest import Program
from tests.postgres import TEMPLATE, PostgresServer, execute
from tests.surfpool.chain import FEED, Chain

pytestmark = [pytest.mark.surfpool, pytest.mark.timeout(300)]


@pytest.fixture
async def dsn(postgres_18: PostgresServer) -> AsyncIterator[str]:
    await execute(postgres_18.dsn(), f"CREATE DATABASE on_surfpool TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    yield postgres_18.dsn("on_surfpool")
    await execute(postgres_18.dsn(), "DROP DATABASE on_surfpool WITH (FORCE)")


@pytest.fixture
def daemon(chain: Chain, dsn: str, program: Program, tmp_path: Path) -> world.Daemon:
    config = {"QUANTDESK_CONFIG": str(world.configuration(tmp_path, markets=[FEED.market]))}
    return world.Daemon(program, chain, tmp_path / "state", dsn, config)


async def until(condition: Callable[[], Awaitable[Any]], within: float = 60) -> None:
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 (of other processes)
            await asyncio.sleep(0.1)


async def until_stored(daemon: world.Daemon, posted: list[tuple[Any, ...]], within: float = 60) -> None:
    """Until every print is a row, and there is no row besides."""

    async def all_stored() -> bool:
        return await world.prints(daemon.dsn) == posted

    await until(all_stored, within)


async def watched(daemon: world.Daemon, *, beyond: int) -> bool:
    """Whether the feed has been watched beyond a slot."""
    async with world.connected(daemon.dsn) as connection:
        slot = await connection.fetchval("SELECT max(watched_slot) FROM oracle_watermarks")
    return slot is not None and slot > beyond


async def served(daemon: world.Daemon) -> bool:
    """Whether marks are made of prints of today."""
    return (await daemon.status())["ready"]


async def sources(dsn: str) -> set[str]:
    async with world.connected(dsn) as connection:
        return {row[0] for row in await connection.fetch("SELECT DISTINCT source::text FROM oracle_prices")}


async def test_real_transactions_are_followed_and_those_of_an_outage_read_back(
    chain: Chain, daemon: world.Daemon
) -> None:
    async with chain.running():
        daemon.start()
        await until_stored(daemon, chain.posted)
        await chain.post(4)
        await until_stored(daemon, chain.posted)
        assert "subscription" in await sources(daemon.dsn)
        daemon.kill()
        await chain.post(3)
        daemon.start()
        await until_stored(daemon, chain.posted)
        await world.until_gaps_are_closed(daemon.dsn)
        assert "chain" in await sources(daemon.dsn)
        await daemon.stop()


async def test_a_node_that_is_started_afresh_is_followed_anew_and_what_went_with_it_is_told(
    chain: Chain, daemon: world.Daemon
) -> None:
    async with chain.running(slot_ms=20):
        daemon.start()
        await until_stored(daemon, chain.posted)
        await until(lambda: watched(daemon, beyond=700))
        chain.cut()
        await chain.post(1)
        lost = chain.posted.pop()  # nobody saw it, and nobody keeps it
    async with chain.running(before=3):
        await until_stored(daemon, chain.posted, within=150)
        await world.until_gaps_are_closed(daemon.dsn)
        async with world.connected(daemon.dsn) as connection:
            gaps = await connection.fetch("SELECT * FROM oracle_gaps ORDER BY id")
        (gap,) = [gap for gap in gaps if gap["from_slot"] > gap["to_slot"]]
        assert gap["from_time"] <= lost[1] <= gap["to_time"]
        assert (gap["state"], gap["inserted"]) == ("unrecoverable", 2)
        assert gap["reason"].startswith("the chain began anew")
        await until(lambda: served(daemon))
        await until(lambda: watched(daemon, beyond=gap["to_slot"]))
        chain.cut()
        await chain.post(3)
        chain.restore()
        await until_stored(daemon, chain.posted)
        await daemon.stop()
