"""Closing gaps from chain history, newest first, and looking now and then for what nobody knows to be missing.

It reads with what the request budget leaves, so that live polling never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.gaps import (
    CLOSED,
    HEALING,
    UNRECOVERABLE,
    FeedKey,
    Gap,
    newest_before,
    open_gap,
    save_gap,
    unfinished_gaps,
)
from quantdesk_oracle.workers.history_reader import Ended, HistoryReader, Tally
from quantdesk_oracle.workers.watch import MARGIN

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed, Market
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState
    from quantdesk_oracle.workers.watch import WatchWorker

log = structlog.get_logger("workers.healing")
LOOK_SECONDS: Final = 5.0
"""How often the table of gaps is read when nothing has called for it."""

PROOF_SECONDS: Final = 28 * 86_400
"""How old a print may be that proves a node's history to have been pruned since."""


class HealingWorker:
    """Heals every gap of the daemon's feeds."""

    def __init__(
        self,
        markets: Markets,
        reader: HistoryReader,
        database: Database,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        *,
        sweep_interval: float,
    ) -> None:
        self._markets = markets
        self._reader = reader
        self._database = database
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._sweep_interval = round(sweep_interval * SECOND)
        self._swept_at = clock.now()
        self._asked = asyncio.Event()
        self.watch: WatchWorker | None = None
        """Who is told how far history has been compared."""
        self.inserted = 0
        """Rows that were missing."""
        self.open_gaps: Counter[str] = Counter()
        """Unfinished gaps by market, as of the last look."""
        self._unread: list[Gap] | None = None
        """The unfinished gaps; None where there is one that has not been looked at."""

    def ask(self) -> None:
        """There is a new gap."""
        self._asked.set()
        self._unread = None

    def healed(self, state: MarketState, boundary: int) -> bool:
        """Whether a market has all prints that can be had of those that may price a boundary (µs)."""
        if self._unread is None or self.watch is None or not self.watch.has_begun(state.symbol):
            return False
        oldest = boundary - state.market.use.stale
        return not any(
            gap.key.market == state.symbol and gap.from_time <= boundary and gap.to_time >= oldest
            for gap in self._unread
        )

    async def run(self) -> None:
        """Until cancelled; a database that is away is waited for."""
        while True:
            async for attempt in until_it_works(self._clock, DatabaseError, on_failure=_delayed):
                with attempt:
                    await self.heal_newest()
                    now = self._clock.now()
                    if abs(now - self._swept_at) >= self._sweep_interval:  # set back counts, too
                        self._swept_at = now
                        await self.sweep()
            await self._until_asked()

    async def heal_newest(self) -> None:
        """Heal gap after gap, the newest first, until there is none."""
        while gaps := await self._unfinished():
            await self._heal(gaps[0])

    async def sweep(self) -> None:
        """Compare each feed's newest history with the table: what a silent socket left out is found here."""
        assert self.watch is not None
        for key, feed, mark in self.watch.unverified():
            slot = self._markets.highest_slot - MARGIN
            if slot <= mark.verified_slot:
                continue
            gap = Gap(
                key,
                "sweep",
                from_time=min(mark.verified_at, self._clock.now()),
                to_time=self._clock.now(),
                from_slot=mark.verified_slot,
                to_slot=slot,
            )
            with contextlib.suppress(_PutAsideError):
                ended = await self._reader.read(gap, feed, self._market(key), _nothing)
                self._count(feed, ended.tally)
                if ended.tally.inserted or ended.tally.missing:
                    await self._note_sweep(ended, feed)
                await self.watch.verified(key, mark.verified_slot, slot)

    async def _unfinished(self) -> list[Gap]:
        self._asked.clear()
        gaps = [
            gap
            for gap in await unfinished_gaps(self._database, self._markets.ids)
            if gap.key in self._markets.feeds
        ]
        open_now = Counter(self._markets.feeds[gap.key].name for gap in gaps)
        for feed in self._markets.feeds.values():
            self._metrics.feed(feed.name).gaps_open.set(open_now[feed.name])
        self.open_gaps = Counter(gap.key.market for gap in gaps)
        self._unread = None if self._asked.is_set() else gaps
        return gaps

    async def _heal(self, gap: Gap) -> None:
        """Heal one gap, or begin to: a newer one that turns up is healed first."""
        feed = self._markets.feeds[gap.key]

        async def on_progress(read: Gap, tally: Tally) -> None:
            self._count(feed, tally)
            await save_gap(self._database, read)
            if self._asked.is_set():
                raise _PutAsideError

        with contextlib.suppress(_PutAsideError):
            ended = await self._reader.read(gap, feed, self._market(gap.key), on_progress)
            await self._close(ended, feed)

    async def _close(self, ended: Ended, feed: Feed) -> None:
        gap, reason = ended.gap, await self._why_unrecoverable(ended)
        gap = replace(gap, state=UNRECOVERABLE if reason else CLOSED, reason=reason)
        await save_gap(self._database, gap)
        event = "gap.unrecoverable" if reason else "gap.closed"
        log.info(event, feed=feed.name, found=gap.found, inserted=gap.inserted, reason=reason)
        self._journal.record(
            event,
            Severity.WARNING if reason else Severity.INFO,
            market=gap.key.market,
            account=gap.key.account,
            from_slot=gap.from_slot,
            to_slot=gap.to_slot,
            found=gap.found,
            inserted=gap.inserted,
            reason=reason,
        )
        if self.watch is not None and gap.from_slot is not None and gap.to_slot is not None:
            # The newest slots may not have been listed yet; the next sweep looks at them again.
            await self.watch.verified(gap.key, gap.from_slot, gap.to_slot - MARGIN)

    async def _why_unrecoverable(self, ended: Ended) -> str | None:
        gap, missing = ended.gap, ended.tally.missing
        # Where the list ends inside the range, nothing was posted before, or it is not kept longer.
        if ended.exhausted_at is not None and await self._is_pruned(gap, ended.exhausted_at):
            return f"the node's history of the account begins at slot {ended.exhausted_at}"
        return _not_kept(missing) if missing else None

    async def _is_pruned(self, gap: Gap, begins_at: int) -> bool:
        kept_from = await self._reader.first_slot()
        if kept_from is not None and gap.from_slot is not None:
            return kept_from > gap.from_slot
        if len(self._market(gap.key).feeds) > 1:
            return False  # the market's older prints may be another feed's: they prove nothing
        key = self._markets.ids[gap.key.market]
        start = gap.to_time - PROOF_SECONDS * SECOND
        proof = await newest_before(
            self._database, key, begins_at, start, gap.to_time, received_before=self._clock.now()
        )
        return proof is not None

    async def _note_sweep(self, ended: Ended, feed: Feed) -> None:
        """A sweep found what nobody had missed: that is a gap, too, and closed already, or lost."""
        missing = ended.tally.missing
        reason = _not_kept(missing) if missing else None
        log.warning("gap.found", feed=feed.name, inserted=ended.tally.inserted, reason=reason)
        self._journal.record(
            "gap.found",
            Severity.WARNING,
            market=ended.gap.key.market,
            account=ended.gap.key.account,
            inserted=ended.tally.inserted,
            reason=reason,
        )
        noted = await open_gap(self._database, self._markets.ids, replace(ended.gap, state=HEALING))
        if noted is not None:
            state = UNRECOVERABLE if missing else CLOSED
            await save_gap(self._database, replace(noted, state=state, reason=reason))

    def _count(self, feed: Feed, tally: Tally) -> None:
        self.inserted += tally.inserted
        self._metrics.feed(feed.name).gap_rows_healed.inc(tally.inserted)

    def _market(self, key: FeedKey) -> Market:
        if (state := self._markets.by_symbol.get(key.market)) is None:
            raise _PutAsideError
        return state.market

    async def _until_asked(self) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(LOOK_SECONDS))
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({sleeping, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            asked.cancel()


def _not_kept(missing: int) -> str:
    return f"{missing} transactions are listed and not kept"


class _PutAsideError(Exception):
    """This gap is left for now: a newer one has turned up, or its market has left."""


async def _nothing(_gap: Gap, _tally: Tally) -> None:
    """A sweep keeps no progress: it is short."""


def _delayed(error: BaseException, wait: float) -> None:
    log.info("healing.delayed", cause=str(error), retry_in=round(wait, 2))
