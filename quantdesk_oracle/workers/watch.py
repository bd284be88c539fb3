"""How far each feed has been watched without a break, and a gap for every break.

A feed is watched while a subscription stands, from the first slot on that is heard after it stood. What was delivered
counts once it is committed; so the watermark follows the subscription's slots by a margin, and only after the price
writer has been flushed. It is where the next start, and every new connection, begins to read history.

A new feed's watermark begins at the first slot that any node told of: a poll may store a print before a subscription
stands, and what came between the two is for a sweep, or the next start, to find.

A chain of one's own may be started afresh, and begin at slot 0 again. A print that is younger than the watermark, and
was posted in a slot far before it, tells; then the watch begins anew, with a gap from the old watermark's time on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.sources.chain_history import has_history
from quantdesk_oracle.sources.chain_pages import NO_HISTORY
from quantdesk_oracle.store.gaps import (
    UNRECOVERABLE,
    FeedKey,
    Gap,
    Watermark,
    move_watermarks,
    newest_before,
    read_watermarks,
    read_watermarks_behind,
    set_watermarks,
    unfinished_gaps,
)
from quantdesk_oracle.workers.chain_head import SLACK
from quantdesk_oracle.workers.gap_notes import give_up, note_gaps

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.model import StoredPrint
    from quantdesk_oracle.sources.subscription import Subscription
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets

log = structlog.get_logger("workers.watch")
FORGOTTEN_SECONDS: Final = 86_400
"""How old a feed's prints may be that a daemon left which was killed before it wrote a watermark."""
EVERY_SECONDS: Final = 1.0
"""How often it is looked whether a subscription stands."""
MOVE_SECONDS: Final = 5.0
"""How often watermarks are moved."""
MARGIN: Final = 75
"""Slots by which confirmation, and a node's notifications, may trail its newest slot."""
_MARGIN_TIME: Final = 30 * SECOND
"""What they take, µs."""


class WatchWorker:
    """Moves the watermarks of all feeds and notes what was not watched."""

    def __init__(
        self,
        markets: Markets,
        prices: BatchWriter[StoredPrint],
        database: Database,
        journal: Journal,
        clock: Clock,
        subscriptions: Sequence[Subscription],
        on_gap: Callable[[], None],
    ) -> None:
        self._markets = markets
        self._prices = prices
        self._database = database
        self._journal = journal
        self._clock = clock
        self._subscriptions = tuple(subscriptions)
        self._on_gap = on_gap
        self._begun: set[FeedKey] = set()
        """The feeds whose watch by this process has begun."""
        self._marks: dict[FeedKey, Watermark] | None = None
        self._new: set[FeedKey] = set()
        """Feeds of which nothing had been stored."""
        self._left: set[str] = set()
        """Markets that have left since the last look began."""
        self._looked_at = clock.now()
        """When the feeds were looked at last; at the start, when this process began."""
        self._watched: frozenset[tuple[int, int]] = frozenset()
        """The connections that watched at the last look."""
        self._since_slot = 0
        self.begun = False
        """Whether the first watch of this process has begun."""
        self._dropped = 0
        self._moved_at = 0

    @property
    def _feeds(self) -> dict[FeedKey, Feed]:
        return {key: feed for key, feed in self._markets.feeds.items() if feed.on_chain}

    def has_begun(self, market: str) -> bool:
        """Whether this process has begun to watch all feeds of a market, and noted what was missed before."""
        if market in self._left or self._is_back():
            return False
        return all(key in self._begun for key in self._feeds if key.market == market)

    def _is_back(self) -> bool:
        """Whether a connection stands of which the last look knew nothing: what was missed before it is to be noted."""
        standing = self._connections(lambda one: one.connected)
        return bool(standing) and standing.isdisjoint(self._watched)

    def _connections(self, counts: Callable[[Subscription], bool]) -> frozenset[tuple[int, int]]:
        """The connections of the subscriptions that count: whose it is, and its number."""
        return frozenset((at, one.connections) for at, one in enumerate(self._subscriptions) if counts(one))

    async def run(self) -> None:
        """Until cancelled; a database that is away only delays."""
        await keep_looking(self.look, self._clock)

    async def look(self) -> None:
        """Note a break in the watch since the last look; else, now and then, move the watermarks."""
        self._forget_left()
        connections = self._connections(self._watches)
        slot, feeds = self._markets.highest_slot, self._feeds
        self._begun &= feeds.keys()
        if slot:
            await self._mark_new(feeds, slot)
            self._looked_at = self._clock.now()
        if not connections or not slot:
            self._watched = frozenset()
            return
        await self._follow_anew(feeds, slot)
        unbroken = not connections.isdisjoint(self._watched)
        if not unbroken or self._dropped != self._prices.dropped:
            cause = "dropped" if unbroken else "disconnected"
            await self._begin(feeds, slot, cause if self.begun else "start")
            self._since_slot = slot
            self.begun = True
            self._dropped = self._prices.dropped
            self._watched = connections
            return
        self._watched = connections
        await self._begin_new(feeds, slot)
        if self._clock.now() - self._moved_at >= MOVE_SECONDS * 1_000_000:
            await self._move(slot - MARGIN)

    def _watches(self, subscription: Subscription) -> bool:
        """Whether it stands, and what the slot was when it began to is known: before, the newest one may be old."""
        since = subscription.connected_at
        return since is not None and since < self._markets.slot_heard_at

    async def _begin_new(self, feeds: Mapping[FeedKey, Feed], slot: int) -> None:
        """Begin with the feeds of markets that have come while the daemon runs, once a node sends them."""
        new = {
            key: feed
            for key, feed in feeds.items()
            if key not in self._begun and any(one.follows(key.account) for one in self._subscriptions)
        }
        if new:
            await self._begin(new, slot, "start")

    async def _begin(self, feeds: Mapping[FeedKey, Feed], slot: int, cause: str) -> None:
        """Note what lies between the watermarks and ``slot``, from which on ``feeds`` are watched (again)."""
        assert self._marks is not None
        now, moved = self._clock.now(), []
        missed: list[tuple[Feed, Gap]] = []
        for key, feed in feeds.items():
            mark = self._marks[key]
            if mark.watched_slot < slot:
                if key not in self._new:
                    missed.append((feed, self._gap(key, feed, mark, slot, cause)))
                # What lies before is in the gap now, and the gap is in the table; a new feed has missed nothing.
                moved.append(replace(mark, watched_slot=slot, watched_at=now))
        gaps = missed and await note_gaps(self._database, self._markets.ids, self._journal, missed)
        await self._save(moved)
        self._begun.update(feeds)
        self._new.difference_update(feeds)
        if gaps:
            self._on_gap()

    async def _follow_anew(self, feeds: Mapping[FeedKey, Feed], slot: int) -> None:
        """Begin anew with feeds whose watermarks are of slots that the chain had before it began anew at lower ones."""
        assert self._marks is not None
        old = self._outlived([self._marks[key] for key in feeds], slot)
        if not old:
            return
        log.warning("chain.began_anew", slot=slot, watched_slot=max(mark.watched_slot for mark in old))
        overtaken = await self._gaps_after(slot, frozenset(mark.key for mark in old))
        missed, now = [], self._clock.now()
        for mark in old:
            gap = self._gap(mark.key, feeds[mark.key], mark, slot, "disconnected")
            # Whatever the node has of their time is read all the same: it may be that the higher slots were a lie.
            begins = min([gap.from_time, *(one.from_time for one in overtaken if one.key == mark.key)])
            missed.append((feeds[mark.key], replace(gap, from_time=begins - _MARGIN_TIME)))
        gaps = await note_gaps(self._database, self._markets.ids, self._journal, missed)
        reason = f"the chain began anew, and is at slot {slot}"
        await give_up(self._database, self._journal, overtaken, reason)
        # The newest slots of the gap may not be listed yet when it is read: they are left to a sweep.
        marks = [Watermark(mark.key, slot, now, max(slot - MARGIN, 0), now) for mark in old]
        await set_watermarks(self._database, self._markets.ids, marks)
        self._marks.update({mark.key: mark for mark in marks})
        self._since_slot = slot
        if gaps:
            self._on_gap()

    def _outlived(self, marks: Sequence[Watermark], slot: int) -> list[Watermark]:
        """Those that a print is younger than which is of a slot so far before them that no lag explains it."""
        now = self._clock.now()
        newest = [state.index.look(now, slot).update for state in self._markets if not state.market.on_hermes]
        prints = sorted(
            (update.publish_time * SECOND, update.slot)
            for update in newest
            if update is not None and update.slot <= slot
        )
        # The lowest slot of each print and all younger ones; where there is none, none is too low.
        lowest = [inf, *accumulate((posted for _, posted in reversed(prints)), min)][::-1]
        return [
            mark
            for mark in marks
            if lowest[bisect_right(prints, mark.watched_at, key=itemgetter(0))] < mark.watched_slot - SLACK
        ]

    async def _gaps_after(self, slot: int, keys: frozenset[FeedKey]) -> list[Gap]:
        """The unfinished gaps of slots that the chain had before it began anew."""
        gaps = await unfinished_gaps(self._database, self._markets.ids)
        return [gap for gap in gaps if gap.key in keys and gap.to_slot is not None and gap.to_slot > slot]

    async def _mark_new(self, feeds: Mapping[FeedKey, Feed], slot: int) -> None:
        """Write down a watermark for each feed that has come, before anything of it can be missed."""
        if self._marks is not None and feeds.keys() <= self._marks.keys():
            return
        first, now = self._markets.first_slot if self._marks is None else slot, self._clock.now()
        marks = await read_watermarks(self._database, self._markets.ids) | (self._marks or {})
        for key in feeds.keys() - marks.keys():
            left = await self._left_behind(key, first) if has_history(feeds[key]) else None
            if left is None:
                self._new.add(key)
            at, instant = left or (first, now)
            marks[key] = Watermark(key, at, instant, at, instant)
        await move_watermarks(self._database, self._markets.ids, [marks[key] for key in feeds])
        self._marks = marks

    async def _left_behind(self, key: FeedKey, before: int) -> tuple[int, int] | None:
        """Slot and time of the last print of a daemon that did not live to write a watermark."""
        market, now = self._markets.ids[key.market], self._clock.now()
        start = now - FORGOTTEN_SECONDS * SECOND
        return await newest_before(
            self._database, market, before, start, now, received_before=self._looked_at
        )

    def _gap(self, key: FeedKey, feed: Feed, mark: Watermark, slot: int, cause: str) -> Gap:
        """What one feed has missed."""
        start = min(mark.watched_slot, mark.verified_slot) if cause == "start" else mark.watched_slot
        gap = Gap(
            key,
            cause,
            from_time=min(mark.watched_at, self._clock.now()),
            to_time=self._clock.now(),
            from_slot=start,
            to_slot=slot,
        )
        if not has_history(feed):
            return replace(gap, state=UNRECOVERABLE, reason=NO_HISTORY)
        return gap

    async def _move(self, slot: int) -> None:
        """Move all watermarks to ``slot``, once whatever was delivered up to now is committed."""
        assert self._marks is not None
        instant = self._clock.now()
        self._moved_at = instant
        if slot <= self._since_slot:
            return
        await self._prices.flushed()
        if self._dropped != self._prices.dropped:
            return  # the next look notes what was given up
        moved = [
            replace(mark, watched_slot=slot, watched_at=instant)
            for mark in self._marks.values()
            if mark.key in self._feeds and mark.watched_slot < slot
        ]
        await self._save(moved)

    async def healed(self, gap: Gap) -> None:
        """A gap has been read to its end. Its newest slots may not have been listed yet: they are left to a sweep."""
        if gap.to_slot is not None:
            await self.verified(replace(gap, to_slot=gap.to_slot - MARGIN))

    async def verified(self, gap: Gap) -> None:
        """The feed's history has been read and compared over the slots of ``gap``."""
        mark = self._marks.get(gap.key) if self._marks else None
        if mark is None or gap.from_slot is None or gap.to_slot is None:
            return
        if gap.from_slot <= mark.verified_slot < gap.to_slot:
            await self._save([replace(mark, verified_slot=gap.to_slot, verified_at=self._clock.now())])

    async def _save(self, marks: Sequence[Watermark]) -> None:
        assert self._marks is not None
        if marks:
            await self._note_lost(self._marks)
            await move_watermarks(self._database, self._markets.ids, marks)
            self._marks.update({mark.key: mark for mark in marks})

    async def _note_lost(self, marks: Mapping[FeedKey, Watermark]) -> None:
        """What a database lacks that knows less than it had committed, as a standby does that was promoted too early.

        Its watermarks tell. What it lost after the last of them is younger than any sweep has verified.
        """
        feeds, slot = self._feeds, self._markets.highest_slot
        missed = [
            (feeds[kept.key], self._gap(kept.key, feeds[kept.key], kept, slot, "dropped"))
            for kept in await read_watermarks_behind(self._database, self._markets.ids, marks)
            if kept.key in feeds
        ]
        if missed:
            if await note_gaps(self._database, self._markets.ids, self._journal, missed):
                self._on_gap()
            await move_watermarks(
                self._database, self._markets.ids, [marks[gap.key] for _feed, gap in missed]
            )

    def forget(self, market: str) -> None:
        """A market has left: its feeds begin anew if it comes back. The next look does it: one may be under way."""
        self._left.add(market)

    def _forget_left(self) -> None:
        left, self._left = self._left, set()
        self._begun = {key for key in self._begun if key.market not in left}
        self._new = {key for key in self._new if key.market not in left}
        if self._marks is not None:
            self._marks = {key: mark for key, mark in self._marks.items() if key.market not in left}

    def unverified(self) -> list[tuple[Gap, Feed]]:
        """The ranges of chain history that can be compared, and have not been."""
        marks, slot, now = self._marks or {}, self._markets.highest_slot - MARGIN, self._clock.now()
        return [
            (Gap(key, "sweep", min(mark.verified_at, now), now, mark.verified_slot, slot), feed)
            for key, feed in self._feeds.items()
            if has_history(feed) and (mark := marks.get(key)) is not None and slot > mark.verified_slot
        ]


async def keep_looking(look: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Look every second until cancelled; a database that is away only delays."""
    while True:
        try:
            await look()
        except DatabaseError as error:
            log.info("watermarks.delayed", cause=str(error))
        await clock.sleep(EVERY_SECONDS)
