"""Reading a span of time of some feeds' chain history, once, and going on where an earlier attempt was stopped.

What was asked for is noted as a gap with the cause `backfill`, and its cursor moves with every piece that is
committed. Whoever asks again finds the unfinished one, finishes it, and reads only what it did not cover.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from quantdesk_oracle.model import Source
from quantdesk_oracle.sources.history import Wanted
from quantdesk_oracle.store.gaps import (
    BACKFILL,
    CLOSED,
    UNRECOVERABLE,
    FeedKey,
    Gap,
    finished_backfills,
    gaps_between,
    open_gap,
    save_gaps,
    unfinished_gaps,
)
from quantdesk_oracle.workers.history_reader import Ended, HistoryReader, Step, Tally

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


@dataclass(slots=True)
class _Job:
    """A range of one feed that is still to be read."""

    wanted: Wanted
    report: FeedReport
    done: int
    """How much of the report's span had been read before, µs."""

    @property
    def bounds(self) -> tuple[int, int, str | None]:
        """What ranges that are read together have in common."""
        gap = self.wanted.gap
        return gap.from_time, gap.to_time, gap.cursor


class Backfill:
    """Backfills feeds from the reader's history: those that one request serves side by side."""

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
        self._history = reader.history
        self._database = database
        self._markets = markets
        self._dry_run = dry_run
        self._on_progress = on_progress

    async def run(self, wanted: Sequence[tuple[Market, Feed]], span: Span) -> list[FeedReport]:
        """Backfill ``span`` of these feeds; a report of each, in their order."""
        reports, jobs = [], list[_Job]()
        keys = {FeedKey(market.symbol, feed.pubkey) for market, feed in wanted}
        unfinished = [gap for gap in await self._unfinished() if gap.key in keys and _meets(gap, span)]
        finished = await self._finished(unfinished)
        for market, feed in wanted:
            report = FeedReport(market.symbol, feed.name, feed.pubkey, span)
            reports.append(report)
            report.note = self._history.why_not(feed)
            if report.note is None:
                jobs += await self._jobs(market, feed, report, unfinished, finished)
        for group in _groups(jobs, self._history.together):
            await self._read(group)
        for report in reports:
            report.read = span.length
            self._on_progress(report)
        return reports

    async def _jobs(
        self,
        market: Market,
        feed: Feed,
        report: FeedReport,
        unfinished: Sequence[Gap],
        finished: Sequence[Gap],
    ) -> list[_Job]:
        """What is to be read of a feed: what an earlier attempt began first, then what it left of the span."""
        key = FeedKey(market.symbol, feed.pubkey)
        rest = await self._parts(market, report)
        for gap in finished:
            if gap.key == key:
                rest = [part for span in rest for part in without(span, Span(gap.from_time, gap.to_time))]
        jobs, done = list[_Job](), report.span.length - sum(part.length for part in rest)
        begun = [gap for gap in unfinished if gap.key == key and any(_meets(gap, part) for part in rest)]
        for gap in begun:
            rest = [part for span in rest for part in without(span, Span(gap.from_time, gap.to_time))]
        new = [Gap(key, BACKFILL, span.start, span.end, source=self._history.source) for span in rest]
        begun += new if self._dry_run else [await self._noted(gap) for gap in new]
        for gap in begun:
            jobs.append(_Job(Wanted(market, feed, gap), report, done))
            done += gap.to_time - gap.from_time
        return jobs

    async def _parts(self, market: Market, report: FeedReport) -> list[Span]:
        """What of the span may be read: of a market on the chain, other sources fill only what the chain cannot."""
        span = report.span
        if self._history.source is Source.CHAIN or market.on_hermes:
            return [span]
        gaps = await gaps_between(self._database, self._markets, market.symbol, span.start, span.end)
        # A fallback's history says nothing of what the account in use has kept.
        account = market.feeds[0].pubkey
        lost = [
            gap
            for gap in gaps
            if (gap.key.account, gap.state, gap.source) == (account, UNRECOVERABLE, Source.CHAIN)
        ]
        rest, parts = [span], list[Span]()
        for gap in lost:
            hole = Span(max(gap.from_time, span.start), min(gap.to_time, span.end))
            parts += [part for each in rest for part in _within(each, hole)]
            rest = [part for each in rest for part in without(each, hole)]
        if not parts:
            report.note = "there is nothing that the chain's history cannot fill"
        return parts

    async def _noted(self, gap: Gap) -> Gap:
        return await open_gap(self._database, self._markets, gap) or gap

    async def _unfinished(self) -> list[Gap]:
        """What earlier attempts began and did not end."""
        if self._dry_run:
            return []
        gaps = await unfinished_gaps(self._database, self._markets, backfill=True)
        return [gap for gap in gaps if gap.source is self._history.source]

    async def _finished(self, unfinished: Sequence[Gap]) -> list[Gap]:
        """What the attempt that left ``unfinished`` behind had read to the end before, of other feeds."""
        if not unfinished:
            return []
        return await finished_backfills(self._database, self._markets, self._history.source, unfinished)

    async def _read(self, jobs: Sequence[_Job]) -> None:
        """Read ranges with the same bounds and cursor."""

        async def on_steps(steps: Sequence[Step]) -> None:
            if not self._dry_run:
                await save_gaps(self._database, [step.gap for step in steps])
            for job, step in zip(jobs, steps, strict=True):
                job.report.tally.add(step.tally)
                if step.read is not None:
                    gap = job.wanted.gap
                    job.report.read = job.done + min(step.read, gap.to_time - gap.from_time)
                self._on_progress(job.report)

        ended = await self._reader.read_together([job.wanted for job in jobs], on_steps)
        closed = [_closed(each, job.report) for each, job in zip(ended, jobs, strict=True)]
        if not self._dry_run:
            await save_gaps(self._database, closed)


def _closed(ended: Ended, report: FeedReport) -> Gap:
    """A range as it is once it has been read; the report says what there is to say of it."""
    missing = ended.tally.missing
    reason = f"{missing} transactions are listed and not kept" if missing else None
    if ended.exhausted_at is not None:
        report.note = f"the node's history of the account begins at slot {ended.exhausted_at}"
    report.note = reason or report.note
    return replace(ended.gap, state=UNRECOVERABLE if missing else CLOSED, reason=report.note)


def _groups(jobs: Sequence[_Job], most: int) -> list[list[_Job]]:
    """Jobs that are read together, in their order."""
    if most == 1:
        return [[job] for job in jobs]
    of_bounds: dict[tuple[int, int, str | None], list[_Job]] = {}
    for job in jobs:
        of_bounds.setdefault(job.bounds, []).append(job)
    return [
        group[start : start + most] for group in of_bounds.values() for start in range(0, len(group), most)
    ]


def _meets(gap: Gap, span: Span) -> bool:
    return gap.from_time < span.end and gap.to_time > span.start


def _within(span: Span, hole: Span) -> list[Span]:
    part = Span(max(span.start, hole.start), min(span.end, hole.end))
    return [part] if part.start < part.end else []


def without(span: Span, covered: Span) -> list[Span]:
    """What of ``span`` lies outside of ``covered``: none, one or two spans."""
    parts = (
        Span(span.start, min(span.end, covered.start)),
        Span(max(span.start, covered.end), span.end),
    )
    return [part for part in parts if part.start < part.end]
