"""Rows to their table in batches: a batch is whatever came while the last one was being committed.

Nothing here decides what is right to store; every statement is idempotent by key, so that a batch whose commit
went unanswered is simply sent again.

While the database is away, slow or refusing, rows go to the backlog on disk, and now and then a batch is tried:

    put ─► queue ─► insert ──────────────────────────────► table
                      │  no answer in time, or trouble        ▲
                      └──────► backlog (disk) ─► drain worker ─┘

Without a backlog, or where that fails too, they wait in the queue, which gives up its oldest at its capacity.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.database import RowFaultError
from quantdesk_oracle.store.spool import SpoolError

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.backlog import Backlog

log = structlog.get_logger("store.writer")
Row = TypeVar("Row")

PACE = 0.01
"""Seconds from one batch to the next at least: a statement for every print would cost twenty times what a row does."""
PATIENCE = 2.0
"""Seconds that rows may wait for the database's answer before they are put to disk as well."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
"""Seconds from a failure to the next attempt: doubled each time, with jitter."""
LONGEST_PAUSE = 60.0
"""Seconds that no error may ask for more than."""


class BatchWriter(Generic[Row]):
    """A bounded queue of rows for one table, and the worker that empties it."""

    def __init__(
        self,
        table: str,
        insert: Callable[[Sequence[Row]], Awaitable[int]],
        clock: Clock,
        metrics: Metrics,
        *,
        batch_rows: int,
        capacity: int,
        on_refused: Callable[[Row, RowFaultError], None],
        on_trouble: Callable[[DatabaseError | None], None],
        backlog: Backlog | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.table = table
        self._insert = insert
        self._clock = clock
        self._batch_rows = batch_rows
        self._capacity = capacity
        self._on_refused = on_refused
        self._on_trouble = on_trouble
        self._backlog: Any = backlog
        self._patience = patience
        self._queue: deque[Row] = deque()
        self._arrived = asyncio.Event()
        self._settled = asyncio.Condition()
        self._put = 0
        self._done = 0
        self._closing = False
        self._failures = 0
        self._began = -PACE
        """When the last batch began, by the loop's own time."""
        self._next_attempt = 0
        self._late: asyncio.Task[None] | None = None
        self._backlog_failing = False
        self._metrics = metrics
        self._table_metrics = metrics.table(table)
        self._depth = metrics.queue(table, capacity).depth
        self.inserted = 0
        """Rows that this writer put into the table."""
        self.duplicates = 0
        """Rows that were there already."""
        self._dropped = 0
        self.refused = 0
        """Rows that the database refuses for what they hold."""
        self.spooled = 0
        """Rows put to disk."""

    def put(self, row: Row) -> None:
        """Queue a row. At the queue's capacity the oldest row is given up, and counted."""
        self._make_room()
        self._queue.append(row)
        self._put += 1
        self._arrived.set()

    async def flushed(self) -> None:
        """Wait until everything that is queued now is committed, on disk, refused or given up."""
        goal = self._put
        async with self._settled:
            await self._settled.wait_for(lambda: self._done >= goal)

    def close(self) -> None:
        """Take no more rows: :meth:`run` returns once the queue is empty."""
        self._closing = True
        self._arrived.set()

    @property
    def waiting(self) -> int:
        """Rows neither committed nor on disk."""
        return self._put - self._done

    @property
    def dropped(self) -> int:
        """Rows given up, because the queue was full or the spool at its cap: whoever keeps watermarks heals them."""
        return self._dropped + (0 if self._backlog is None else self._backlog.given_up(self.table))

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed, or has not been answered in time."""
        return self._failures > 0 or self._late is not None

    async def run(self) -> None:
        """Write until closed and empty."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._queue:
                    await self._keep_pace()
                    await self._write(self._take())
                if self._closing:
                    return
        finally:
            if self._late is not None:
                self._late.cancel()

    async def _keep_pace(self) -> None:
        """Let rows gather where the last batch began only just now; a full one need not wait."""
        loop = asyncio.get_running_loop()
        left = self._began + PACE - loop.time()
        if left > 0 and len(self._queue) < self._batch_rows and not self._closing:
            await asyncio.sleep(left)
        self._began = loop.time()

    async def store(self, rows: Sequence[Row]) -> None:
        """Insert rows that waited on disk, halving around those at fault. Raises DatabaseError: none is lost then."""
        try:
            inserted = await self._insert_all(list(rows))
        except DatabaseError as error:
            self._failed(error)
            raise
        self._count(inserted, len(rows))

    def _take(self) -> list[Row]:
        size = min(len(self._queue), self._batch_rows)
        self._depth.set(len(self._queue))
        return [self._queue.popleft() for _ in range(size)]

    async def _write(self, batch: list[Row]) -> None:
        """To the table or to disk: it leaves memory either way."""
        if await self._to_table(batch) or await self._to_disk(batch) is not None:
            await self._settle(len(batch))
            return
        # Neither takes it: back to the queue's front, and once more in a while.
        self._queue.extendleft(reversed(batch))
        self._make_room(0)
        left = (self._next_attempt - self._clock.now()) / SECOND if self._waits() else 0.0
        await self._clock.sleep(max(left, FIRST_WAIT))

    async def _to_table(self, batch: list[Row]) -> bool:
        """Try to insert a batch, unless it is too early to try again; whether it is settled."""
        if self._late is not None or self._waits():
            return False
        attempt = asyncio.ensure_future(self._attempt(batch))
        try:
            # Without a disk to put it to, there is nothing better than to wait.
            await asyncio.wait({attempt}, timeout=None if self._backlog is None else self._patience)
            if not attempt.done():
                return await self._put_off(batch, attempt)
        except asyncio.CancelledError:
            attempt.cancel()
            raise
        return attempt.result()

    async def _put_off(self, batch: list[Row], attempt: asyncio.Future[bool]) -> bool:
        """The database does not answer: the batch goes to disk too, and leaves it again if the answer does come."""
        seqs = await self._to_disk(batch)
        if seqs is None:
            return await attempt
        log.warning("write.delayed", table=self.table, rows=len(batch), seconds=self._patience)
        self._late = asyncio.create_task(self._await_late(attempt, seqs), name=f"late batch of {self.table}")
        return True

    async def _await_late(self, attempt: asyncio.Future[bool], seqs: range) -> None:
        try:
            if await attempt:
                await self._backlog.remove(seqs)
        except SpoolError as error:
            log.warning("spool.failed", cause=str(error))
        finally:
            attempt.cancel()
            self._late = None

    async def _attempt(self, batch: list[Row]) -> bool:
        """Insert a batch; False where the database is in trouble."""
        started = time.monotonic()
        try:
            inserted = await self._insert_all(batch)
        except DatabaseError as error:
            self._failed(error)
            return False
        self._metrics.batch_duration.observe(time.monotonic() - started)
        self._metrics.batch_rows.observe(len(batch))
        self._count(inserted, len(batch))
        return True

    async def _insert_all(self, batch: list[Row]) -> int:
        """Insert a batch, halving it around rows that the database refuses; how many are new."""
        try:
            inserted = await self._insert(batch)
        except RowFaultError as error:
            if len(batch) == 1:
                await self._refuse(batch[0], error)
                return 0
            middle = len(batch) // 2
            return await self._insert_all(batch[:middle]) + await self._insert_all(batch[middle:])
        self.duplicates += len(batch) - inserted
        self._table_metrics.duplicate.inc(len(batch) - inserted)
        return inserted

    async def _refuse(self, row: Row, error: RowFaultError) -> None:
        self.refused += 1
        self._table_metrics.refused.inc()
        self._on_refused(row, error)
        if self._backlog is not None:
            try:
                await self._backlog.refuse(row, str(error))
            except SpoolError as trouble:
                log.warning("spool.failed", cause=str(trouble))

    async def _to_disk(self, batch: list[Row]) -> range | None:
        """Put a batch to disk; None where that cannot be done."""
        if self._backlog is None:
            return None
        try:
            seqs: range = await self._backlog.keep(batch)
        except SpoolError as error:
            if not self._backlog_failing:
                log.warning("spool.failed", table=self.table, cause=str(error), waiting=len(self._queue))
            self._backlog_failing = True
            return None
        self._backlog_failing = False
        self.spooled += len(batch)
        return seqs

    async def _settle(self, rows: int) -> None:
        self._depth.set(len(self._queue))
        async with self._settled:
            self._done += rows
            self._settled.notify_all()

    def _count(self, inserted: int, rows: int) -> None:
        self.inserted += inserted
        self._table_metrics.written.inc(inserted)
        self._metrics.db_up.set(1)
        log.debug("batch.committed", table=self.table, rows=rows, inserted=inserted)
        self._next_attempt = 0
        if self._failures:
            log.info("write.restored", table=self.table, attempts=self._failures)
            self._failures = 0
            self._on_trouble(None)

    def _failed(self, error: DatabaseError) -> None:
        """Note a failure, and when to try again."""
        self._failures += 1
        backoff = min(FIRST_WAIT * 2 ** min(self._failures - 1, 10), LONGEST_WAIT)
        wait = max(backoff * random.uniform(0.75, 1.25), getattr(error, "retry_after", 0.0))  # noqa: S311
        self._next_attempt = self._clock.now() + round(wait * SECOND)
        self._metrics.db_up.set(0)
        if self._failures == 1:
            log.warning("write.failed", table=self.table, cause=str(error), retry_in=round(wait, 2))
        self._on_trouble(error)

    def _waits(self) -> bool:
        """Whether it is too early for another attempt; a clock that was set back keeps nobody waiting."""
        return 0 < self._next_attempt - self._clock.now() <= LONGEST_PAUSE * SECOND

    def _make_room(self, wanted: int = 1) -> None:
        while len(self._queue) + wanted > self._capacity:
            self._queue.popleft()
            self._dropped += 1
            self._done += 1
            self._table_metrics.dropped.inc()
