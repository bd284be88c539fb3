"""Premium samples every five seconds, each from the mark row that stands, whoever wrote it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, DueSample, Freshness, MarkPrice, PremiumSample, Taken
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.funding import SAMPLE_SECONDS
from quantdesk_oracle.pricing.premium import SampleInputs
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.backlog import Backlog
from quantdesk_oracle.store.series import StoredMark, insert_premium_samples, marks_at
from quantdesk_oracle.store.spool import SpoolError

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.state import Markets

log = structlog.get_logger("workers.samples")
MAX_WAITING = 10_000
"""Instants that may wait for the database: half a day's; the oldest are given up beyond it."""
USED = "used"
UNAVAILABLE = "unavailable"
LONGEST_DRAIN = 600.0
"""Seconds that a settlement waits for rows on disk."""
DRAIN_CHECK = 0.2


class SampleWorker:
    """Takes the instants of the mark grid and writes a sample for each that is on the sampling grid."""

    def __init__(
        self,
        markets: Markets,
        marks: BatchWriter[MarkPrice],
        database: Database,
        clock: Clock,
        metrics: Metrics,
        backlog: Backlog | None = None,
    ) -> None:
        self._markets = markets
        self._marks = marks
        self._backlog = backlog
        self._database = database
        self._clock = clock
        self._waiting: deque[tuple[int, Mapping[str, Taken]]] = deque(maxlen=MAX_WAITING)
        self._offered = asyncio.Event()
        self._changed = asyncio.Condition()
        self._metrics = metrics.table("premium_samples")
        self._failing = False
        self.inserted = 0

    def offer(self, instant: int, taken: Mapping[str, Taken]) -> None:
        """Note an instant of the mark grid. A market that is not in ``taken`` gets no sample of it."""
        if instant % (SAMPLE_SECONDS * SECOND) == 0 and taken:
            self._waiting.append((instant, taken))
            self._offered.set()

    async def run(self) -> None:
        """Write samples until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            while self._waiting:
                instant, taken = self._waiting[0]
                await self._sample_patiently(instant, taken)
                # Only now: whoever asks meanwhile must see that it is not written yet.
                if self._waiting and self._waiting[0][0] == instant:
                    self._waiting.popleft()
                async with self._changed:
                    self._changed.notify_all()

    async def drained(self, before: int) -> None:
        """Wait until no instant before ``before`` (µs) is unwritten."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting or self._waiting[0][0] >= before)

    async def complete(self, before: int) -> None:
        """Wait until all that a settlement at ``before`` (µs) reads is in the database: samples, marks, prints.

        What lies on disk is waited for ten minutes at most: a rate may be late, not missing.
        """
        await self.drained(before)
        waited = 0.0
        while self._on_disk(before) and waited < LONGEST_DRAIN:
            await self._clock.sleep(DRAIN_CHECK)
            waited += DRAIN_CHECK

    async def keep_rest(self) -> None:
        """Put to disk what is still waiting: the daemon ends."""
        while self._waiting and await self._keep(*self._waiting[0]):
            self._waiting.popleft()

    async def store_due(self, rows: Sequence[DueSample]) -> None:
        """Make the samples that have waited on disk for their marks. Raises DatabaseError."""
        for instant, taken in rows:
            await self._sample(instant, {m: each for m, each in taken.items() if m in self._markets.ids})

    def _on_disk(self, before: int) -> bool:
        oldest = None if self._backlog is None else self._backlog.oldest_instant
        return oldest is not None and oldest < before

    async def _sample_patiently(self, instant: int, taken: Mapping[str, Taken]) -> None:
        await self._marks.flushed()
        if self._marks_are_on_disk(instant) and await self._keep(instant, taken):
            return
        try:
            await self._sample(instant, taken)
        except DatabaseError as error:
            self._failed(error, 0.0)
            if await self._keep(instant, taken):
                return
        else:
            self._failing = False
            return
        async for attempt in until_it_works(self._clock, DatabaseError, on_failure=self._failed, longest=5.0):
            with attempt:
                await self._sample(instant, taken)
        self._failing = False

    def _marks_are_on_disk(self, instant: int) -> bool:
        """Whether the marks of ``instant`` may be there: samples can only be made after they have left it."""
        if self._backlog is None:
            return False
        newest = self._backlog.newest_kept("mark_prices")
        return self._marks.failing or (newest is not None and newest >= instant)

    async def _keep(self, instant: int, taken: Mapping[str, Taken]) -> bool:
        """Put an instant to disk; whether that worked."""
        if self._backlog is None:
            return False
        try:
            await self._backlog.keep([DueSample(instant, taken)])
        except SpoolError as error:
            log.warning("spool.failed", cause=str(error))
            return False
        return True

    async def _sample(self, instant: int, taken: Mapping[str, Taken]) -> None:
        marks = await marks_at(self._database, self._markets.ids, instant)
        rows = [sample(symbol, instant, marks.get(symbol), each) for symbol, each in taken.items()]
        inserted = await insert_premium_samples(self._database, self._markets.ids, rows)
        self.inserted += inserted
        self._metrics.written.inc(inserted)
        self._metrics.duplicate.inc(len(rows) - inserted)

    def _failed(self, error: BaseException, wait: float) -> None:
        if not self._failing:
            log.warning("samples.failed", cause=str(error), retry_in=round(wait, 2))
        self._failing = True


def sample(market: str, instant: int, mark: StoredMark | None, taken: Taken) -> PremiumSample:
    """The sample of one market, from the mark that stands and the book at its instant.

    Without a fresh oracle the premium is unknown, and the status says why. The row names its mark where the
    premium is the mark's.
    """
    if mark is None and taken.mark is not None:
        mark = _as_stored(taken.mark)
    if mark is None:
        known = taken.freshness in (Freshness.FRESH, Freshness.STALE)
        return PremiumSample(market, instant, None, UNAVAILABLE if known else taken.freshness.value)
    fresh = mark.status == Freshness.FRESH.value
    inputs = SampleInputs(
        mark.index_price, mark.mark_price, taken.impact_bid, taken.impact_ask, taken.has_book
    )
    return PremiumSample(
        market=market,
        instant=instant,
        premium=methods.of(taken.method).premium(inputs) if fresh else None,
        status=USED if fresh else mark.status,
        index_price=mark.index_price,
        publish_time=mark.publish_time,
        slot=mark.slot,
        mark_instant=None if taken.has_book else mark.instant,
        impact_bid=taken.impact_bid if taken.has_book else None,
        impact_ask=taken.impact_ask if taken.has_book else None,
    )


def _as_stored(mark: MarkPrice) -> StoredMark:
    return StoredMark(
        mark.instant, mark.mark_price, mark.index_price, mark.publish_time, mark.slot, mark.status.value
    )
