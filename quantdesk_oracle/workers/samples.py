"""Premium samples every five seconds, each from the mark row that stands, whoever wrote it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Freshness, MarkPrice, PremiumSample
from quantdesk_oracle.pricing.funding import SAMPLE_SECONDS
from quantdesk_oracle.pricing.premium import premium_of_mark
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.series import StoredMark, insert_premium_samples, marks_at

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


class SampleWorker:
    """Takes the instants of the mark grid and writes a sample for each that is on the sampling grid."""

    def __init__(
        self,
        markets: Markets,
        marks: BatchWriter[MarkPrice],
        database: Database,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._markets = markets
        self._marks = marks
        self._database = database
        self._clock = clock
        self._waiting: deque[tuple[int, dict[str, Freshness]]] = deque(maxlen=MAX_WAITING)
        self._offered = asyncio.Event()
        self._changed = asyncio.Condition()
        self._metrics = metrics.table("premium_samples")
        self._failing = False
        self.inserted = 0

    def offer(self, instant: int) -> None:
        """Note an instant of the mark grid, and how fresh each market's index was at it."""
        if instant % (SAMPLE_SECONDS * SECOND) == 0:
            self._waiting.append((instant, {state.symbol: state.freshness for state in self._markets}))
            self._offered.set()

    async def run(self) -> None:
        """Write samples until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            while self._waiting:
                instant, freshness = self._waiting[0]
                await self._sample_patiently(instant, freshness)
                # Only now: whoever asks meanwhile must see that it is not written yet.
                if self._waiting and self._waiting[0][0] == instant:
                    self._waiting.popleft()
                async with self._changed:
                    self._changed.notify_all()

    async def drained(self, before: int) -> None:
        """Wait until no instant before ``before`` (µs) is unwritten."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting or self._waiting[0][0] >= before)

    async def _sample_patiently(self, instant: int, freshness: Mapping[str, Freshness]) -> None:
        async for attempt in until_it_works(self._clock, DatabaseError, on_failure=self._failed, longest=5.0):
            with attempt:
                await self._sample(instant, freshness)
        self._failing = False

    async def _sample(self, instant: int, freshness: Mapping[str, Freshness]) -> None:
        await self._marks.flushed()
        marks = await marks_at(self._database, self._markets.ids, instant)
        rows = [sample(symbol, instant, marks.get(symbol), state) for symbol, state in freshness.items()]
        inserted = await insert_premium_samples(self._database, self._markets.ids, rows)
        self.inserted += inserted
        self._metrics.written.inc(inserted)
        self._metrics.duplicate.inc(len(rows) - inserted)

    def _failed(self, error: BaseException, wait: float) -> None:
        if not self._failing:
            log.warning("samples.failed", cause=str(error), retry_in=round(wait, 2))
        self._failing = True


def sample(market: str, instant: int, mark: StoredMark | None, freshness: Freshness) -> PremiumSample:
    """The sample of one market with no book: (mark − index) / index of the stored mark.

    Without a fresh oracle the premium is unknown, and the status says why.
    """
    if mark is None:
        known = freshness in (Freshness.FRESH, Freshness.STALE)
        return PremiumSample(market, instant, None, UNAVAILABLE if known else freshness.value)
    fresh = mark.status == Freshness.FRESH.value
    return PremiumSample(
        market=market,
        instant=instant,
        premium=premium_of_mark(mark.mark_price, mark.index_price) if fresh else None,
        status=USED if fresh else mark.status,
        index_price=mark.index_price,
        publish_time=mark.publish_time,
        slot=mark.slot,
        mark_instant=mark.instant,
    )
