"""From disk to the database: in order, live rows first, what nobody can read aside."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.model import SECOND, DueSample, Event, Freshness, Severity, Taken
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.store.backlog import KINDS, Backlog
from quantdesk_oracle.store.faults import DatabaseTroubleError, Kind
from quantdesk_oracle.store.spool import ROW_OVERHEAD, Spool
from quantdesk_oracle.workers.drain import LOOK_SECONDS, DrainWorker
from tests.clock import VirtualClock
from tests.rows import a_mark, a_print


class Notes:
    """Stands in for the journal."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.data: list[dict[str, Any]] = []

    def record(self, type_: str, severity: Severity = Severity.INFO, **data: Any) -> None:
        self.types.append(type_)
        self.data.append(data)


class World:
    def __init__(self, folder: Path, capacity: int = 10**9) -> None:
        self.clock = VirtualClock()
        self.spool = Spool(folder, capacity=capacity, on_set_aside=lambda *_: None)
        self.backlog = Backlog(self.spool, self.clock, Metrics([], [], [], "0"))
        self.stored: list[tuple[str, Any]] = []
        self.batches: list[int] = []
        self.trouble: DatabaseTroubleError | None = None
        self.live = 0
        self.notes = Notes()
        self.worker = DrainWorker(
            self.backlog,
            {kind: self._outlet(kind) for kind in KINDS},
            self.notes,  # type: ignore[arg-type]
            self.clock,
            batch_rows=10,
            busy=lambda: self.live > 0,
        )

    def _outlet(self, kind: str) -> Any:
        async def store(rows: Sequence[Any]) -> None:
            if self.trouble is not None:
                raise self.trouble
            self.batches.append(len(rows))
            self.stored.extend((kind, row) for row in rows)

        return store

    async def drain(self) -> None:
        """Drain, with time passing."""
        task = asyncio.create_task(self.worker.drain())
        while not task.done():
            await self.clock.advance(1)
            await asyncio.sleep(0.001)
        await task


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.backlog.open()
    yield world
    await world.backlog.close()


DUE = DueSample(5 * SECOND, {"BTC-PERP": Taken(Freshness.FRESH, None, None, False, "quantdesk")})
EVENT = Event("a.b", Severity.ERROR, 7, {"n": 1, "nested": {"x": [1, None]}}, "BTC-PERP")


async def test_every_kind_comes_back_as_it_went_and_samples_after_their_marks(world: World) -> None:
    rows = [DUE, EVENT, a_mark(5 * SECOND), a_print(3, ema_confidence=2**64 - 1, ema_price=-(2**63))]
    for row in rows:
        await world.backlog.keep([row])
    await world.drain()
    assert [kind for kind, _ in world.stored] == [
        "oracle_prices",
        "mark_prices",
        "premium_samples",
        "system_events",
    ]
    assert [row for _, row in world.stored] == [rows[3], rows[2], rows[0], rows[1]]
    assert world.backlog.rows == 0
    assert world.notes.types == ["spool.drained"]


async def test_rows_go_in_batches_and_in_order(world: World) -> None:
    prints = [a_print(n) for n in range(25)]
    await world.backlog.keep(prints)
    await world.drain()
    assert [row for _, row in world.stored] == prints
    assert world.batches == [10, 10, 5]
    assert world.worker.drained == 25


async def test_while_the_database_is_away_everything_stays(world: World) -> None:
    await world.backlog.keep([a_print(1), a_mark(5)])
    world.trouble = DatabaseTroubleError("away", Kind.UNREACHABLE)
    with pytest.raises(DatabaseTroubleError):
        await world.drain()
    assert world.backlog.rows == 2
    world.trouble = None
    await world.drain()
    assert len(world.stored) == 2


async def test_the_worker_goes_on_by_itself_when_the_database_is_back(world: World) -> None:
    await world.backlog.keep([a_print(1)])
    world.trouble = DatabaseTroubleError("away", Kind.UNREACHABLE)
    task = asyncio.create_task(world.worker.run())
    for _ in range(20):
        await world.clock.advance(1)
        await asyncio.sleep(0.002)
    assert world.stored == []
    world.trouble = None
    async with asyncio.timeout(10):
        while not world.stored:
            await world.clock.advance(1)
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_live_rows_go_first_but_not_for_ever(world: World) -> None:
    await world.backlog.keep([a_print(1)])
    world.live = 1
    task = asyncio.create_task(world.worker.drain())
    for _ in range(40):
        await world.clock.advance(0.02)
        await asyncio.sleep(0.001)
    assert world.stored == []
    await world.clock.advance(1)
    async with asyncio.timeout(10):
        while not task.done():
            await world.clock.advance(1)
            await asyncio.sleep(0.001)
    assert len(world.stored) == 1


async def test_a_row_that_the_disk_has_changed_is_put_aside_and_the_others_go_on(world: World) -> None:
    await world.backlog.keep([a_print(n) for n in range(3)])
    with sqlite3.connect(world.spool.path) as connection:
        # A digit of the price: JSON as before, and another number.
        connection.execute(
            "UPDATE spooled SET payload = replace(payload, '10000000000002', '10000000000009')"
        )
    connection.close()
    await world.drain()
    assert [row.update.price % 10 for _, row in world.stored] == [0, 1]
    assert "row.unreadable" in world.notes.types
    assert world.backlog.rows == 0
    with sqlite3.connect(world.spool.path) as connection:
        [(cause,)] = connection.execute("SELECT cause FROM refused").fetchall()
    connection.close()
    assert "checksum" in cause


async def test_what_was_given_up_at_the_cap_is_told_once(tmp_path: Path) -> None:
    world = World(tmp_path, capacity=3 * (ROW_OVERHEAD + 450))
    await world.backlog.open()
    await world.backlog.keep([a_print(n) for n in range(20)])
    await world.drain()
    await world.drain()
    assert world.notes.types.count("spool.overflowed") == 1
    [told] = [data for data in world.notes.data if "first" in data]
    assert told["market"] == "BTC-PERP"
    assert told["rows"] == 20 - len(world.stored)
    assert told["last"] - told["first"] == told["rows"] - 1
    await world.backlog.close()


async def test_ones_own_rows_go_at_once_and_those_of_another_daemon_a_little_later(
    world: World, tmp_path: Path
) -> None:
    other = Backlog(
        Spool(tmp_path, capacity=10**9, on_set_aside=lambda *_: None),
        world.clock,
        Metrics([], [], [], "0"),
    )
    await other.open()
    running = asyncio.create_task(world.worker.run())

    async def stored(rows: int) -> bool:
        """Whether so many are, once what can be done without time passing has been done."""
        for _ in range(200):
            if len(world.stored) >= rows:
                return True
            await asyncio.sleep(0.005)
        return False

    await asyncio.sleep(0.05)
    await world.backlog.keep([a_print(1)])
    assert await stored(1)
    await world.clock.advance(1)
    await asyncio.sleep(0.05)
    await other.keep([a_print(2)])
    await world.clock.advance(LOOK_SECONDS)
    assert await stored(2)
    running.cancel()
    await other.close()
