"""How far each feed on Hermes has been watched without a break, and a gap for every break. As ``watch``, of time.

A feed is watched while a stream stands that follows it. The watermark is a publish time: it follows the newest that
the stream has brought, of whatever feed, by a margin, and moves only after the price writer has been flushed. So it
asks no clock of this machine, and all feeds of a stream have the same one: their gaps are read in the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from quantdesk_oracle.model import SECOND, Source
from quantdesk_oracle.store.gaps import (
    UNRECOVERABLE,
    FeedKey,
    Gap,
    Watermark,
    move_watermarks,
    newest_of,
    read_watermarks,
    read_watermarks_behind,
    unfinished_gaps,
)
from quantdesk_oracle.workers.gap_notes import give_up, note_gaps
from quantdesk_oracle.workers.watch import FORGOTTEN_SECONDS, MOVE_SECONDS, keep_looking

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.model import StoredPrint
    from quantdesk_oracle.sources.hermes_stream import HermesStream
    from quantdesk_oracle.sources.hermes_streams import HermesStreams
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets

log = structlog.get_logger("workers.hermes_watch")
MARGIN: Final = 10
"""Seconds by which one feed's prints may trail another's in a stream."""
LATE: Final = 60 * SECOND
"""How far Benchmarks may trail, µs: what is younger is looked at again by the next sweep."""
NO_HISTORY: Final = 'no history of feeds on Hermes is read: [hermes] history = "none"'


class _Sight(NamedTuple):
    """What watches a feed now."""

    streams: frozenset[tuple[HermesStream, int]]
    """Those that stand, each with the number of times that it has."""
    whole_from: int
    """Every print published since (Unix seconds) has been brought, or will be."""
    newest: tuple[int, int]
    """Publish time (Unix seconds) and slot of the newest print that they have brought."""


class HermesWatch:
    """Moves the watermarks of all feeds on Hermes and notes what was not watched."""

    def __init__(
        self,
        markets: Markets,
        streams: HermesStreams,
        prices: BatchWriter[StoredPrint],
        database: Database,
        journal: Journal,
        clock: Clock,
        history: Source | None,
        on_gap: Callable[[], None],
    ) -> None:
        """``history``: where gaps are read back from; None: nowhere."""
        self._markets = markets
        self._streams = streams
        self._prices = prices
        self._database = database
        self._journal = journal
        self._clock = clock
        self._history = history
        self._on_gap = on_gap
        self._started = clock.now()
        self._given_up: set[FeedKey] = set()
        """Feeds whose gaps of before, if there were any, have been closed, since no history is read."""
        self._marks: dict[FeedKey, Watermark] = {}
        self._watched: dict[FeedKey, frozenset[tuple[HermesStream, int]]] = {}
        """The streams that watched a feed at the last look; of a feed whose watch has not begun, none."""
        self._left: set[str] = set()
        """Markets that have left since the last look began."""
        self._dropped = prices.dropped
        self._moved_at = 0

    @property
    def _feeds(self) -> dict[FeedKey, Feed]:
        return {key: feed for key, feed in self._markets.feeds.items() if not feed.on_chain}

    def has_begun(self, market: str) -> bool:
        """Whether all feeds of a market are watched, and what was missed before is noted."""
        return market not in self._left and all(
            (sight := self._sight(feed)) is not None
            and not sight.streams.isdisjoint(self._watched.get(key, ()))
            for key, feed in self._feeds.items()
            if key.market == market
        )

    async def run(self) -> None:
        """Until cancelled; a database that is away only delays."""
        await keep_looking(self.look, self._clock)

    async def look(self) -> None:
        """Note each break in the watch since the last look; now and then, move the watermarks of the others."""
        self._forget_left()
        feeds, dropped = self._feeds, self._prices.dropped
        if self._history is None:
            await self._give_up(feeds.keys() - self._given_up)
        sights = {key: sight for key, feed in feeds.items() if (sight := self._sight(feed)) is not None}
        begins, goes_on = dict[FeedKey, tuple[str, int]](), dict[FeedKey, _Sight]()
        for key, sight in sights.items():
            if key not in self._watched:
                # The stream may have stood before the market was there to take what it brought.
                begins[key] = ("start", sight.newest[0])
            elif sight.streams.isdisjoint(self._watched[key]):
                begins[key] = ("disconnected", sight.whole_from)
            elif dropped != self._dropped:
                begins[key] = ("dropped", sight.newest[0])
            else:
                goes_on[key] = sight
        if begins:
            await self._begin(feeds, begins, sights)
        self._dropped = dropped
        for key in self._watched.keys() & feeds.keys() | sights.keys():
            self._watched[key] = sights[key].streams if key in sights else frozenset()
        if self._clock.now() - self._moved_at >= MOVE_SECONDS * SECOND:
            await self._move(goes_on)

    async def _give_up(self, keys: Set[FeedKey]) -> None:
        """Nobody will read the gaps that were noted while history was."""
        if keys:
            gaps = await unfinished_gaps(self._database, self._markets.ids)
            await give_up(self._database, self._journal, [gap for gap in gaps if gap.key in keys], NO_HISTORY)
            self._given_up |= keys

    def _sight(self, feed: Feed) -> _Sight | None:
        """What watches a feed now; None: nothing does."""
        standing = [
            stream
            for stream in self._streams.streams
            if stream.whole_from is not None and stream.connected and feed.feed_id in stream.feed_ids
        ]
        if not standing:
            return None
        return _Sight(
            frozenset((stream, stream.streams) for stream in standing),
            min(stream.whole_from for stream in standing if stream.whole_from is not None),
            max(stream.newest for stream in standing),
        )

    async def _begin(
        self,
        feeds: Mapping[FeedKey, Feed],
        begins: Mapping[FeedKey, tuple[str, int]],
        sights: Mapping[FeedKey, _Sight],
    ) -> None:
        """Note what lies between the watermarks and what is watched from now on, by feed: the cause, and from when."""
        before = await self._marks_of(begins)
        moved: list[Watermark] = []
        missed: list[tuple[Feed, Gap]] = []
        for key, (cause, whole_from) in begins.items():
            # With the second itself: the newest print may not have been the first of it.
            until, mark, slot = (whole_from + 1) * SECOND, before.get(key), sights[key].newest[1]
            if mark is None:  # nothing of it was ever stored: it has missed nothing
                moved.append(Watermark(key, slot, until, slot, until))
                continue
            if self._start(mark, cause) < until:
                missed.append((feeds[key], self._gap(mark, until, cause)))
            moved.append(replace(mark, watched_slot=slot, watched_at=max(mark.watched_at, until)))
        gaps = missed and await note_gaps(self._database, self._markets.ids, self._journal, missed)
        await self._save(moved)
        if gaps:
            self._on_gap()

    def _start(self, mark: Watermark, cause: str) -> int:
        swept = cause == "start" and self._history is Source.BENCHMARKS
        return min(mark.watched_at, mark.verified_at) if swept else mark.watched_at

    def _gap(self, mark: Watermark, until: int, cause: str) -> Gap:
        """What one feed has missed."""
        gap = Gap(mark.key, cause, self._start(mark, cause), until, source=self._history or Source.HERMES)
        if self._history is None:
            return replace(gap, state=UNRECOVERABLE, reason=NO_HISTORY)
        return gap

    async def _marks_of(self, keys: Iterable[FeedKey]) -> dict[FeedKey, Watermark]:
        """The watermarks of these feeds, or where a daemon left off that did not live to write one."""
        keys = list(keys)
        if missing := [key for key in keys if key not in self._marks]:
            stored = await read_watermarks(self._database, self._markets.ids)
            for key in missing:
                mark = stored.get(key) or await self._left_behind(key)
                if mark is not None:
                    self._marks[key] = mark
        return {key: self._marks[key] for key in keys if key in self._marks}

    async def _left_behind(self, key: FeedKey) -> Watermark | None:
        now, sources = self._clock.now(), (Source.HERMES, Source.BENCHMARKS)
        found = await newest_of(
            self._database,
            self._markets.ids[key.market],
            sources,
            now - FORGOTTEN_SECONDS * SECOND,
            now,
            received_before=self._started,
        )
        return None if found is None else Watermark(key, found[1], found[0], found[1], found[0])

    async def _move(self, sights: Mapping[FeedKey, _Sight]) -> None:
        """Move the watermarks of feeds that are watched, once whatever has been brought up to now is committed."""
        self._moved_at = self._clock.now()
        if not sights:
            return
        await self._prices.flushed()
        if self._dropped != self._prices.dropped:
            return  # the next look notes what was given up
        moved = []
        for key, sight in sights.items():
            at, mark = (sight.newest[0] - MARGIN) * SECOND, self._marks[key]
            if at > mark.watched_at:
                moved.append(replace(mark, watched_slot=sight.newest[1], watched_at=at))
        await self._save(moved)

    async def healed(self, gap: Gap) -> None:
        """A gap has been read to its end."""
        await self._verified(gap, gap.to_time - LATE)

    async def verified(self, gap: Gap) -> None:
        """A range of ``unverified`` has been read and compared."""
        await self._verified(gap, gap.to_time)

    async def _verified(self, gap: Gap, until: int) -> None:
        mark = self._marks.get(gap.key)
        if mark is not None and gap.from_time <= mark.verified_at < until:
            await self._save([replace(mark, verified_at=until)])

    def unverified(self) -> list[tuple[Gap, Feed]]:
        """The ranges whose history can be compared, and has not been: Benchmarks' alone, a minute a request."""
        if self._history is not Source.BENCHMARKS:
            return []
        found = []
        for key, feed in self._feeds.items():
            mark = self._marks.get(key)
            if mark is not None and mark.verified_at < mark.watched_at - LATE:
                until = mark.watched_at - LATE
                found.append((Gap(key, "sweep", mark.verified_at, until, source=Source.BENCHMARKS), feed))
        return found

    async def _save(self, marks: Sequence[Watermark]) -> None:
        if marks:
            await self._note_lost()
            await move_watermarks(self._database, self._markets.ids, marks)
            self._marks.update({mark.key: mark for mark in marks})

    async def _note_lost(self) -> None:
        """As WatchWorker does: what a database lacks that knows less than it had committed."""
        feeds = self._feeds
        missed = [
            (feeds[kept.key], self._gap(kept, self._brought_until(feeds[kept.key], kept), "dropped"))
            for kept in await read_watermarks_behind(self._database, self._markets.ids, self._marks)
            if kept.key in feeds
        ]
        if missed:
            if await note_gaps(self._database, self._markets.ids, self._journal, missed):
                self._on_gap()
            marks = [self._marks[gap.key] for _feed, gap in missed]
            await move_watermarks(self._database, self._markets.ids, marks)

    def _brought_until(self, feed: Feed, kept: Watermark) -> int:
        """Up to when prints have been brought, and may be lost, µs; without a stream, a gap begins at the watermark."""
        sight = self._sight(feed)
        return self._marks[kept.key].watched_at if sight is None else (sight.newest[0] + 1) * SECOND

    def forget(self, market: str) -> None:
        """As WatchWorker does."""
        self._left.add(market)

    def _forget_left(self) -> None:
        left, self._left = self._left, set()
        self._watched = {key: streams for key, streams in self._watched.items() if key.market not in left}
        self._marks = {key: mark for key, mark in self._marks.items() if key.market not in left}
        self._given_up = {key for key in self._given_up if key.market not in left}
