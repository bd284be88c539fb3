"""Reading a span of time of some feeds' chain history, once, and going on where an earlier attempt was stopped.

What was asked for is noted as a gap with the cause `backfill`, and its cursor moves with every piece that is
committed. Whoever asks again finds the unfinished one, finishes it, and reads only what it did not cover.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.sources.chain_history import has_history
from quantdesk_oracle.store.gaps import (
    BACKFILL,
    CLOSED,
    UNRECOVERABLE,
    FeedKey,
    Gap,
    open_gap,
    save_gap,
    unfinished_gaps,
)
from quantdesk_oracle.workers.history_reader import HistoryReader, Tally
from quantdesk_oracle.workers.watch import NO_HISTORY

if TYPE_CHECKING:
    from quantdesk_oracle.config import Feed, Market
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.series import MarketIds

log = structlog.get_logger("workers.backfill")


class Span(NamedTuple):
    """A span of block times from ``start`` up to, not with, ``end`` (µs)."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return max(self.end - self.start, 0)


@dataclass(slots=True)
class FeedReport:
    """What backfilling one feed has come to so far."""

    market: str
    feed: str
    account: str
    span: Span
    tally: Tally = field(default_factory=Tally)
    read: int = 0
    """How much of the span has been read, µs."""
    note: str | None = None
    """What there is to say about it, such as why nothing was read."""

    @property
    def share(self) -> float:
        """How much of the span has been read, 0 to 1."""
        return min(self.read / self.span.length, 1.0) if self.span.length else 1.0


class Backfill:
    """Backfills feeds from the chain, one after the other."""

    def __init__(
        self,
        reader: HistoryReader,
        database: Database,
        markets: MarketIds,
        *,
        dry_run: bool = False,
        on_progress: Callable[[FeedReport], None] = lambda _report: None,
    ) -> None:
        self._reader = reader
        self._database = database
        self._markets = markets
        self._dry_run = dry_run
        self._on_progress = on_progress

    async def run(self, wanted: Sequence[tuple[Market, Feed]], span: Span) -> list[FeedReport]:
        """Backfill ``span`` of these feeds; a report of each, in their order."""
        reports = []
        for market, feed in wanted:
            report = FeedReport(market.symbol, feed.name, feed.pubkey, span)
            reports.append(report)
            if has_history(feed):
                await self._feed(market, feed, report)
            else:
                report.note = NO_HISTORY
            report.read = span.length
            self._on_progress(report)
        return reports

    async def _feed(self, market: Market, feed: Feed, report: FeedReport) -> None:
        rest = [report.span]
        for gap in await self._unfinished(FeedKey(market.symbol, feed.pubkey)):
            if gap.from_time < report.span.end and gap.to_time > report.span.start:
                await self._read(gap, market, feed, report)
                rest = [part for span in rest for part in without(span, Span(gap.from_time, gap.to_time))]
        for span in rest:
            gap = Gap(FeedKey(market.symbol, feed.pubkey), BACKFILL, span.start, span.end)
            if not self._dry_run:
                gap = await open_gap(self._database, self._markets, gap) or gap
            await self._read(gap, market, feed, report)

    async def _unfinished(self, key: FeedKey) -> list[Gap]:
        if self._dry_run:
            return []
        gaps = await unfinished_gaps(self._database, self._markets, backfill=True)
        return [gap for gap in gaps if gap.key == key]

    async def _read(self, gap: Gap, market: Market, feed: Feed, report: FeedReport) -> None:
        done = report.read

        async def on_progress(read: Gap, tally: Tally) -> None:
            report.tally.add(tally)
            if self._reader.reached is not None:
                report.read = done + min(
                    max(gap.to_time - self._reader.reached * SECOND, 0), gap.to_time - gap.from_time
                )
            if not self._dry_run:
                await save_gap(self._database, read)
            self._on_progress(report)

        ended = await self._reader.read(gap, feed, market, on_progress)
        report.read = done + gap.to_time - gap.from_time
        missing = ended.tally.missing
        reason = f"{missing} transactions are listed and not kept" if missing else None
        if ended.exhausted_at is not None:
            report.note = f"the node's history of the account begins at slot {ended.exhausted_at}"
        report.note = reason or report.note
        if not self._dry_run:
            state = UNRECOVERABLE if missing else CLOSED
            await save_gap(self._database, replace(ended.gap, state=state, reason=report.note))


def without(span: Span, covered: Span) -> list[Span]:
    """What of ``span`` lies outside of ``covered``: none, one or two spans."""
    parts = (
        Span(span.start, min(span.end, covered.start)),
        Span(max(span.start, covered.end), span.end),
    )
    return [part for part in parts if part.start < part.end]
