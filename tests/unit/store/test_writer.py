"""The writer: to the table, else to disk, else it waits; nothing twice, nothing lost silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import StoredPrint
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.store.backlog import Backlog
from quantdesk_oracle.store.faults import DatabaseTroubleError, Kind, RowFaultError
from quantdesk_oracle.store.spool import Spool, SpoolError
from quantdesk_oracle.store.writer import BatchWriter
from tests.rows import a_print
from tests.virtual_time import SocketClock

PATIENCE = 0.05
TABLE = "oracle_prices"


class Table:
    """A table that holds each row once, and can be away, silent, or picky."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], StoredPrint] = {}
        self.batches: list[int] = []
        self.trouble: DatabaseError | None = None
        self.poison: set[int] = set()
        self.answers = asyncio.Event()
        self.answers.set()

    async def insert(self, rows: Sequence[StoredPrint]) -> int:
        await asyncio.sleep(0)
        await self.answers.wait()
        if self.trouble is not None:
            raise self.trouble
        if any(row.update.slot in self.poison for row in rows):
            raise RowFaultError("cannot store oracle prices: no such thing")
        self.batches.append(len(rows))
        new = {row.update.identity: row for row in rows if row.update.identity not in self.rows}
        self.rows.update(new)
        return len(new)

    @property
    def slots(self) -> list[int]:
        return [row.update.slot for row in self.rows.values()]


class World:
    """A writer on a table, with or without a spool."""

    def __init__(self, backlog: Backlog | None, clock: SocketClock, metrics: Metrics) -> None:
        self.table = Table()
        self.clock = clock
        self.backlog = backlog
        self.refused: list[StoredPrint] = []
        self.troubles: list[str | None] = []
        self.writer: BatchWriter[StoredPrint] = BatchWriter(
            TABLE,
            self.table.insert,
            clock,
            metrics,
            batch_rows=8,
            capacity=100,
            on_refused=lambda row, _: self.refused.append(row),
            on_trouble=lambda error: self.troubles.append(error and str(error)),
            backlog=backlog,
            patience=PATIENCE,
        )
        self.task = asyncio.create_task(self.writer.run())

    def put(self, *slots: int) -> None:
        for slot in slots:
            self.writer.put(a_print(slot, slot=slot))

    async def on_disk(self) -> list[int]:
        assert self.backlog is not None
        return [waiting.row.update.slot for waiting in await self.backlog.oldest(TABLE, 1_000)]

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
def clock() -> SocketClock:
    return SocketClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics([], [], [], "0")


@pytest.fixture
async def memory_only(clock: SocketClock, metrics: Metrics) -> AsyncIterator[World]:
    world = World(None, clock, metrics)
    yield world
    await world.end()


@pytest.fixture
async def world(clock: SocketClock, metrics: Metrics, tmp_path: Path) -> AsyncIterator[World]:
    spool = Spool(tmp_path, capacity=10**9, on_set_aside=lambda *_: None)
    backlog = Backlog(spool, clock, metrics)
    await backlog.open()
    world = World(backlog, clock, metrics)
    yield world
    await world.end()
    await backlog.close()


def away(kind: Kind = Kind.UNREACHABLE) -> DatabaseTroubleError:
    return DatabaseTroubleError("cannot store oracle prices: it is away", kind)


async def test_a_batch_is_what_came_while_the_last_one_was_committed(memory_only: World) -> None:
    memory_only.table.answers.clear()
    memory_only.put(1)
    await asyncio.sleep(0)
    memory_only.put(*range(2, 22))
    memory_only.table.answers.set()
    await memory_only.writer.flushed()
    assert memory_only.table.batches[0] == 1 or memory_only.table.batches == [8, 8, 5]
    assert max(memory_only.table.batches) == 8
    assert memory_only.table.slots == list(range(1, 22))


async def test_a_row_that_is_there_already_is_a_duplicate(memory_only: World) -> None:
    memory_only.put(1, 2)
    await memory_only.writer.flushed()
    memory_only.put(2, 3)
    await memory_only.writer.flushed()
    assert (memory_only.writer.inserted, memory_only.writer.duplicates) == (3, 1)


async def test_a_poison_row_is_isolated_and_the_rest_of_its_batch_is_stored(world: World) -> None:
    world.table.poison = {3, 6}
    world.put(*range(8))
    await world.writer.flushed()
    assert world.table.slots == [0, 1, 2, 4, 5, 7]
    assert [row.update.slot for row in world.refused] == [3, 6]
    assert world.writer.refused == 2
    assert world.troubles == []


async def test_without_a_spool_rows_wait_and_go_on_in_their_order(memory_only: World) -> None:
    memory_only.table.trouble = away()
    memory_only.put(1, 2)
    await memory_only.clock.until(lambda: bool(memory_only.troubles))
    memory_only.put(3)
    await memory_only.clock.until(lambda: len(memory_only.troubles) >= 4, step=0.5)
    memory_only.table.trouble = None
    await memory_only.clock.until(lambda: memory_only.writer.waiting == 0, step=0.5)
    assert memory_only.table.slots == [1, 2, 3]
    assert memory_only.troubles[-1] is None
    assert not memory_only.writer.failing


async def test_at_the_queues_capacity_the_oldest_rows_go(memory_only: World) -> None:
    memory_only.table.trouble = away()
    memory_only.put(*range(150))
    await memory_only.clock.until(lambda: bool(memory_only.troubles))
    memory_only.put(*range(150, 170))
    memory_only.table.trouble = None
    await memory_only.clock.until(lambda: memory_only.writer.waiting == 0, step=0.5)
    assert memory_only.table.slots == list(range(70, 170))
    assert memory_only.writer.dropped == 70


async def test_what_the_database_does_not_take_is_on_disk_when_flushed_returns(world: World) -> None:
    world.table.trouble = away()
    world.put(*range(20))
    await world.writer.flushed()
    assert await world.on_disk() == list(range(20))
    assert (world.writer.waiting, world.writer.spooled) == (0, 20)
    assert world.writer.failing
    assert world.troubles == [str(away())], "one attempt; it is too early for another"


async def test_live_rows_are_tried_again_after_a_while(world: World) -> None:
    world.table.trouble = away()
    world.put(1)
    await world.writer.flushed()
    world.table.trouble = None
    await world.clock.advance(6)
    world.put(2)
    await world.writer.flushed()
    assert world.table.slots == [2]
    assert await world.on_disk() == [1], "for the drain worker to move"
    assert world.troubles[-1] is None


async def test_a_wrong_password_is_not_tried_again_for_half_a_minute(world: World) -> None:
    world.table.trouble = away(Kind.CREDENTIALS)
    for second in range(60):
        world.put(second)
        await world.writer.flushed()
        await world.clock.advance(1)
    assert len(world.troubles) in (2, 3)


async def test_a_clock_that_is_set_back_does_not_put_off_the_next_attempt(world: World) -> None:
    world.table.trouble = away()
    world.put(1)
    await world.writer.flushed()
    world.clock.set(world.clock.now() - 3_600_000_000)
    world.table.trouble = None
    world.put(2)
    await world.writer.flushed()
    assert world.table.slots == [2]


async def test_rows_that_wait_for_an_answer_go_to_disk_and_leave_it_when_it_comes(world: World) -> None:
    world.table.answers.clear()
    world.put(1, 2)
    await world.writer.flushed()
    assert await world.on_disk() == [1, 2]
    world.put(3)
    await world.writer.flushed()
    assert await world.on_disk() == [1, 2, 3], "nothing is sent after what is not answered"
    world.table.answers.set()
    await world.clock.until(lambda: not world.writer.failing)
    assert await world.on_disk() == [3]
    assert world.table.slots == [1, 2]
    assert (world.writer.inserted, world.writer.duplicates) == (2, 0)


async def test_rows_without_an_answer_stay_on_disk_when_it_is_no(world: World) -> None:
    world.table.answers.clear()
    world.put(1, 2)
    await world.writer.flushed()
    world.table.trouble = away(Kind.TIMEOUT)
    world.table.answers.set()
    await world.clock.until(lambda: bool(world.troubles))
    assert await world.on_disk() == [1, 2]


async def test_where_the_disk_fails_too_rows_wait_in_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.backlog is not None

    async def full(_: object) -> range:
        raise SpoolError("the spool cannot be used: disk full")

    monkeypatch.setattr(world.backlog, "keep", full)
    world.table.trouble = away()
    world.put(1, 2)
    await world.clock.until(lambda: len(world.troubles) >= 3, step=0.5)
    assert world.writer.waiting == 2
    world.table.trouble = None
    await world.clock.until(lambda: world.writer.waiting == 0, step=0.5)
    assert world.table.slots == [1, 2]


async def test_closing_drains_what_is_queued(memory_only: World) -> None:
    memory_only.put(*range(20))
    memory_only.writer.close()
    await memory_only.task
    assert memory_only.table.slots == list(range(20))


async def test_closing_while_the_database_is_away_puts_the_rest_to_disk(world: World) -> None:
    world.table.trouble = away()
    world.put(*range(20))
    world.writer.close()
    await world.task
    assert await world.on_disk() == list(range(20))


async def test_closing_while_the_database_is_silent_puts_the_rest_to_disk(world: World) -> None:
    world.table.answers.clear()
    world.put(*range(20))
    world.writer.close()
    await world.task
    assert await world.on_disk() == list(range(20))


async def test_a_cancelled_writer_leaves_no_attempt_behind(world: World) -> None:
    world.table.answers.clear()
    world.put(1)
    await asyncio.sleep(0.01)
    await world.end()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in others if "insert" in repr(task) or "late" in task.get_name()] == []


async def test_rows_from_disk_are_stored_around_those_at_fault(world: World) -> None:
    world.table.poison = {2}
    await world.writer.store([a_print(n, slot=n) for n in range(5)])
    assert world.table.slots == [0, 1, 3, 4]
    world.table.trouble = away()
    with pytest.raises(DatabaseTroubleError):
        await world.writer.store([a_print(9, slot=9)])


async def test_what_goes_at_the_spools_cap_counts_as_dropped(
    clock: SocketClock, metrics: Metrics, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, capacity=2_000, on_set_aside=lambda *_: None)
    backlog = Backlog(spool, clock, metrics)
    await backlog.open()
    world = World(backlog, clock, metrics)
    world.table.trouble = away()
    world.put(*range(20))
    await world.writer.flushed()
    kept = await world.on_disk()
    assert world.writer.dropped == 20 - len(kept) > 0
    assert kept == list(range(20 - len(kept), 20))
    await world.end()
    await backlog.close()
