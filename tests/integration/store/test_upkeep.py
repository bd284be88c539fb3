"""The upkeep worker on a real database: partitions at the start, statistics every five minutes, trouble waited out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.model import Severity
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.workers.upkeep import STATISTICS_SECONDS, UpkeepWorker
from tests.clock import VirtualClock


class Journal:
    def __init__(self) -> None:
        self.told: list[str] = []

    def record(self, type_: str, severity: Severity = Severity.INFO, **_: Any) -> None:
        self.told.append(type_)


@pytest.fixture
async def opened(fresh_dsn: str) -> AsyncIterator[Database]:
    database = Database(fresh_dsn, pool_size=2, command_timeout=15)
    await database.open()
    yield database
    await database.close()


@contextlib.asynccontextmanager
async def running(worker: UpkeepWorker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 (the condition is in a database)
            await asyncio.sleep(0.02)


async def test_a_days_statistics_follow_its_prints_within_a_round(opened: Database, fresh_dsn: str) -> None:
    connection = await asyncpg.connect(fresh_dsn)
    clock, journal = VirtualClock(), Journal()

    async def closes_at(price: int) -> bool:
        found = await connection.fetchval(
            "SELECT close_price FROM market_stats JOIN markets AS m ON m.id = market_id"
            " WHERE m.symbol = 'BTC-PERP' AND date = (now() AT TIME ZONE 'UTC')::date"
        )
        return found == price

    async def store(price: int, slot: int) -> None:
        await connection.execute(
            "INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)"
            " SELECT id, now(), $2, $1, -8, 'poll', 'accepted' FROM markets WHERE symbol = 'BTC-PERP'",
            price,
            slot,
        )

    try:
        await store(100, 1)
        async with running(UpkeepWorker(opened, journal, clock)):  # type: ignore[arg-type]
            await until(lambda: closes_at(100))
            await store(101, 2)
            await clock.advance(STATISTICS_SECONDS)
            await until(lambda: closes_at(101))
    finally:
        await connection.close()
    assert journal.told == []


async def test_what_fails_is_told_and_tried_again(opened: Database, fresh_dsn: str) -> None:
    connection = await asyncpg.connect(fresh_dsn)
    clock, journal = VirtualClock(), Journal()

    async def told() -> bool:
        return bool(journal.told)

    async def refreshed() -> bool:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM market_stats)"))

    try:
        await connection.execute("ALTER FUNCTION refresh_statistics() RENAME TO refresh_statistics_away")
        async with running(UpkeepWorker(opened, journal, clock)):  # type: ignore[arg-type]
            await until(told)
            await connection.execute("ALTER FUNCTION refresh_statistics_away() RENAME TO refresh_statistics")
            await connection.execute(
                "INSERT INTO oracle_prices (market_id, slot, price, exponent, source, verdict)"
                " SELECT id, 1, 100, -8, 'poll', 'accepted' FROM markets WHERE symbol = 'BTC-PERP'"
            )
            await clock.advance(STATISTICS_SECONDS)
            await until(refreshed)
    finally:
        await connection.close()
    assert journal.told == ["upkeep.failed"]
