"""Closing gaps from history, newest first, and looking now and then for what nobody knows to be missing.

Gaps of accounts are read from the chain, those of feeds on Hermes from there or from Benchmarks: a worker each.
It reads with what the request budget leaves, so that live polling never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from quantdesk_oracle.clock import sleep_unless
from quantdesk_oracle.errors import DatabaseError, NodeRefusesError
from quantdesk_oracle.model import SECOND, Severity, Source
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.sources.history import Wanted
from quantdesk_oracle.store.gaps import (
    CLOSED,
    HEALING,
    UNRECOVERABLE,
    FeedKey,
    Gap,
    newest_before,
    open_gap,
    save_gap,
    save_gaps,
    unfinished_gaps,
)
from quantdesk_oracle.workers.gap_notes import range_of
from quantdesk_oracle.workers.history_reader import Ended, HistoryReader, Step, Tally

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed, Market
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.healing")
LOOK_SECONDS: Final = 5.0
"""How often the table of gaps is read when nothing has called for it."""

PROOF_SECONDS: Final = 28 * 86_400
"""How old a print may be that proves a node's history to have been pruned since."""


class Watch(Protocol):
    """Who knows what of each feed was watched, and keeps how far its history has been compared."""

    def has_begun(self, market: str) -> bool:
        """Whether all feeds of a market are watched, and what was missed before is noted."""

    def unverified(self) -> list[tuple[Gap, Feed]]:
        """The ranges whose history can be compared, and has not been."""

    async def healed(self, gap: Gap) -> None:
        """A gap has been read to its end."""

    async def verified(self, gap: Gap) -> None:
        """A range of ``unverified`` has been read and compared."""


class HealingWorker:
    """Heals the gaps of the daemon's feeds whose history ``reader`` reads."""

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
        self.watch: Watch | None = None
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
        """Until cancelled. A database that is away is waited for, and so is a source that has no history to give:
        another endpoint may, or another key. Prices are served meanwhile, and the gaps stay open.
        """
        while True:
            errors = (DatabaseError, NodeRefusesError)
            async for attempt in until_it_works(self._clock, errors, on_failure=_delayed):
                with attempt:
                    await self.heal_newest()
                    now = self._clock.now()
                    if abs(now - self._swept_at) >= self._sweep_interval:  # set back counts, too
                        self._swept_at = now
                        await self.sweep()
            await sleep_unless(self._asked, self._clock, LOOK_SECONDS)

    async def heal_newest(self) -> None:
        """Heal gap after gap, the newest first, until there is none."""
        while gaps := await self._unfinished():
            await self._heal(gaps)

    async def sweep(self) -> None:
        """Compare each feed's newest history with the table: what a silent socket left out is found here."""
        assert self.watch is not None
        ranges = [gap for gap, _feed in self.watch.unverified()]
        while ranges:
            wanted = self._together(ranges)
            ended = await self._reader.read_together(wanted, _nothing) if wanted else []
            for each, read in zip(wanted, ended, strict=True):
                await self._swept(read, each.feed)
            done = {ranges[0].key, *(each.gap.key for each in wanted)}
            ranges = [gap for gap in ranges if gap.key not in done]

    async def _swept(self, ended: Ended, feed: Feed) -> None:
        assert self.watch is not None
        self._count(feed, ended.tally)
        if ended.tally.inserted or ended.tally.missing:
            await self._note_sweep(ended, feed)
        await self.watch.verified(ended.gap)

    def _together(self, gaps: Sequence[Gap]) -> list[Wanted]:
        """The first of these, and those that the same requests serve; none where its market has left."""
        feeds, found = self._feeds, dict[str, Wanted]()
        for gap in gaps:
            feed, state = feeds.get(gap.key), self._markets.by_symbol.get(gap.key.market)
            if feed is not None and state is not None and gap.bounds == gaps[0].bounds:
                found.setdefault(gap.key.market, Wanted(state.market, feed, gap))
        return list(found.values())[: self._reader.history.together]

    @property
    def _feeds(self) -> dict[FeedKey, Feed]:
        """The feeds whose history is read here."""
        on_chain = self._reader.history.source is Source.CHAIN
        return {key: feed for key, feed in self._markets.feeds.items() if feed.on_chain is on_chain}

    async def _unfinished(self) -> list[Gap]:
        self._asked.clear()
        feeds = self._feeds
        found = await unfinished_gaps(self._database, self._markets.ids) if feeds else []
        gaps = [self._own(gap) for gap in found if gap.key in feeds]
        open_now = Counter(feeds[gap.key].name for gap in gaps)
        for feed in feeds.values():
            self._metrics.feed(feed.name).gaps_open.set(open_now[feed.name])
        self.open_gaps = Counter(gap.key.market for gap in gaps)
        self._unread = None if self._asked.is_set() else gaps
        return gaps

    def _own(self, gap: Gap) -> Gap:
        """``gap`` as it is read here: a cursor of another source says nothing."""
        source = self._reader.history.source
        return gap if gap.source is source else replace(gap, source=source, cursor=None, cursor_slot=None)

    async def _heal(self, gaps: Sequence[Gap]) -> None:
        """Heal the newest gaps, or begin to: a newer one that turns up is healed first."""
        wanted = self._together(gaps)

        async def on_steps(steps: Sequence[Step]) -> None:
            for each, step in zip(wanted, steps, strict=True):
                self._count(each.feed, step.tally)
            await save_gaps(self._database, [step.gap for step in steps])
            if self._asked.is_set():
                raise _PutAsideError

        with contextlib.suppress(_PutAsideError):
            ended = await self._reader.read_together(wanted, on_steps) if wanted else []
            for each, read in zip(wanted, ended, strict=True):
                await self._close(read, each.feed)

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
            found=gap.found,
            inserted=gap.inserted,
            reason=reason,
            **range_of(gap),
        )
        if self.watch is not None:
            await self.watch.healed(gap)

    async def _why_unrecoverable(self, ended: Ended) -> str | None:
        gap, missing = ended.gap, ended.tally.missing
        if ended.exhausted_at is not None and gap.began_anew:
            return f"the chain began anew; its history of the account begins at slot {ended.exhausted_at}"
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


def _not_kept(missing: int) -> str:
    return f"{missing} transactions are listed and not kept"


class _PutAsideError(Exception):
    """This gap is left for now: a newer one has turned up, or its market has left."""


async def _nothing(_steps: Sequence[Step]) -> None:
    """A sweep keeps no progress: it is short."""


def _delayed(error: BaseException, wait: float) -> None:
    log.warning("healing.delayed", cause=str(error), retry_in=round(wait, 2))
