"""From disk to the database, when it is back: oldest first, live rows before them, at half the database's time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from quantdesk_oracle.clock import sleep_unless
from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.store.backlog import KINDS, Backlog, Waiting
from quantdesk_oracle.store.spool import SpoolError

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.workers.journal import Journal

log = structlog.get_logger("workers.drain")
LOOK_SECONDS = 5.0
"""How often it is looked for what another daemon has left in the directory; one's own rows are moved at once."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 5.0
"""Seconds between two attempts while the database is away, unless its error asks for more."""

Outlet = Callable[[Sequence[Any]], Awaitable[None]]
"""Stores rows of one kind; raises DatabaseError, and then they stay where they are."""


class DrainWorker:
    """Moves rows from the backlog into their tables.

    ``busy`` says whether live rows wait: they go first. After each batch it rests for as long as that took, so
    that at most half of one connection's time is spent on what is old.
    """

    def __init__(
        self,
        backlog: Backlog,
        outlets: Mapping[str, Outlet],
        journal: Journal,
        clock: Clock,
        *,
        batch_rows: int,
        busy: Callable[[], bool],
    ) -> None:
        self._backlog = backlog
        self._outlets = outlets
        self._journal = journal
        self._clock = clock
        self._batch_rows = batch_rows
        self._busy = busy
        self._failures = 0
        self.drained = 0
        """Rows moved so far."""

    async def run(self) -> None:
        """Drain whenever there is something to drain, until cancelled."""
        while True:
            try:
                await self.drain()
            except (DatabaseError, SpoolError) as error:
                self._failures += 1
                wait = max(
                    min(FIRST_WAIT * 2 ** min(self._failures - 1, 10), LONGEST_WAIT),
                    getattr(error, "retry_after", 0.0),
                )
                if self._failures == 1:
                    log.info("drain.stopped", cause=str(error), rows=self._backlog.rows)
                await self._clock.sleep(wait)
            else:
                self._failures = 0
                await sleep_unless(self._backlog.grown, self._clock, LOOK_SECONDS)

    async def drain(self) -> None:
        """Move all that lies there now. Raises DatabaseError, SpoolError: the rest stays."""
        self._backlog.grown.clear()
        if not await self._backlog.holds_anything():
            return
        before, started = self.drained, time.monotonic()
        for kind in KINDS:
            while batch := await self._backlog.oldest(kind, self._batch_rows):
                await self._let_live_rows_pass()
                await self._move(kind, batch)
        await self._tell_gaps()
        if moved := self.drained - before:
            seconds = time.monotonic() - started
            log.info(
                "spool.drained", rows=moved, seconds=round(seconds, 3), rows_per_second=round(moved / seconds)
            )
            self._journal.record("spool.drained", rows=moved, seconds=round(seconds, 3))

    async def _move(self, kind: str, batch: list[Waiting]) -> None:
        started = time.monotonic()
        for unread in (row for row in batch if row.trouble is not None):
            log.error("row.unreadable", kind=kind, cause=unread.trouble)
            self._journal.record("row.unreadable", Severity.ERROR, reason=kind, cause=unread.trouble)
            await self._backlog.put_aside(unread)
        readable = [row for row in batch if row.trouble is None]
        if readable:
            await self._outlets[kind]([row.row for row in readable])
            await self._backlog.remove([row.seq for row in readable])
            self.drained += len(readable)
        await self._clock.sleep(min(time.monotonic() - started, 1.0))

    async def _let_live_rows_pass(self) -> None:
        """Wait while live rows do; for a second at most, or a busy market would keep old rows on disk for good."""
        begun = self._clock.now()
        while self._busy() and 0 <= self._clock.now() - begun < SECOND:
            await self._clock.sleep(0.01)

    async def _tell_gaps(self) -> None:
        """Carry to the database what was given up at the spool's byte cap."""
        for gap in await self._backlog.gaps():
            self._journal.record(
                "spool.overflowed",
                Severity.ERROR,
                market=gap.market or None,
                reason=gap.kind,
                rows=gap.rows,
                first=gap.first // SECOND,
                last=gap.last // SECOND,
            )
            await self._backlog.forget(gap)
