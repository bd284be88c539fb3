"""Rows to their table in batches: a batch is whatever came while the last one was being committed.

Nothing here decides what is right to store; every statement is idempotent by key, so that a batch whose
commit went unanswered is simply sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.database import RowFaultError

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics

log = structlog.get_logger("store.writer")
Row = TypeVar("Row")


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
        on_trouble: Callable[[str | None], None],
    ) -> None:
        self.table = table
        self._insert = insert
        self._clock = clock
        self._batch_rows = batch_rows
        self._capacity = capacity
        self._on_refused = on_refused
        self._on_trouble = on_trouble
        self._queue: deque[Row] = deque()
        self._arrived = asyncio.Event()
        self._settled = asyncio.Condition()
        self._put = 0
        self._done = 0
        self._closing = False
        self._failing = False
        self._metrics = metrics
        self._table_metrics = metrics.table(table)
        self._depth = metrics.queue(table, capacity).depth
        self.inserted = 0
        """Rows that this writer put into the table."""
        self.duplicates = 0
        """Rows that were there already."""
        self.dropped = 0
        """Rows given up because the queue was full."""

    def put(self, row: Row) -> None:
        """Queue a row. At the queue's capacity the oldest row is given up, and counted."""
        if len(self._queue) >= self._capacity:
            self._queue.popleft()
            self.dropped += 1
            self._done += 1
        self._queue.append(row)
        self._put += 1
        self._arrived.set()

    async def flushed(self) -> None:
        """Wait until everything that is queued now is committed, refused or given up."""
        goal = self._put
        async with self._settled:
            await self._settled.wait_for(lambda: self._done >= goal)

    def close(self) -> None:
        """Take no more rows: :meth:`run` returns once the queue is empty."""
        self._closing = True
        self._arrived.set()

    @property
    def waiting(self) -> int:
        """Rows not yet committed."""
        return self._put - self._done

    async def run(self) -> None:
        """Write until closed and empty."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._write(self._take())
            if self._closing:
                return

    def _take(self) -> list[Row]:
        size = min(len(self._queue), self._batch_rows)
        self._depth.set(len(self._queue))
        return [self._queue.popleft() for _ in range(size)]

    async def _write(self, batch: list[Row]) -> None:
        started = time.monotonic()
        inserted = await self._insert_all(batch)
        self._metrics.batch_duration.observe(time.monotonic() - started)
        self._metrics.batch_rows.observe(len(batch))
        self._depth.set(len(self._queue))
        self.inserted += inserted
        self._table_metrics.written.inc(inserted)
        async with self._settled:
            self._done += len(batch)
            self._settled.notify_all()
        log.debug("batch.committed", table=self.table, rows=len(batch), inserted=inserted)

    async def _insert_all(self, batch: list[Row]) -> int:
        """Insert a batch, halving it around rows that the database refuses; how many are new."""
        try:
            inserted = await self._insert_patiently(batch)
        except RowFaultError as error:
            if len(batch) == 1:
                self._on_refused(batch[0], error)
                return 0
            middle = len(batch) // 2
            return await self._insert_all(batch[:middle]) + await self._insert_all(batch[middle:])
        self.duplicates += len(batch) - inserted
        self._table_metrics.duplicate.inc(len(batch) - inserted)
        return inserted

    async def _insert_patiently(self, batch: list[Row]) -> int:
        async for attempt in until_it_works(
            self._clock, _UnavailableError, on_failure=self._failed, longest=5.0
        ):
            with attempt:
                try:
                    inserted = await self._insert(batch)
                except RowFaultError:
                    raise
                except DatabaseError as error:
                    raise _UnavailableError(str(error)) from error
                self._restored()
                return inserted
        raise AssertionError("retrying ends only with a result")

    def _failed(self, error: BaseException, wait: float) -> None:
        self._metrics.db_up.set(0)
        if not self._failing:
            log.warning("write.failed", table=self.table, cause=str(error), retry_in=round(wait, 2))
        self._failing = True
        self._on_trouble(str(error))

    def _restored(self) -> None:
        self._metrics.db_up.set(1)
        if self._failing:
            log.info("write.restored", table=self.table, waiting=len(self._queue))
            self._failing = False
            self._on_trouble(None)


class _UnavailableError(DatabaseError):
    """The database is away or refuses everybody; the same rows will do later."""
