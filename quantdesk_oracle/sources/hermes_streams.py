"""The streams that follow all wanted feeds on Hermes, fifty feeds each; which feeds those are may change.

A stream's feeds are part of its request. So other feeds take other streams: those that go are kept until those that
come have stood for some seconds, and no print falls between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.sources.hermes import FEEDS_AT_ONCE

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.sources.hermes_stream import HermesStream

LOOK_SECONDS: Final = 1.0
OVERLAP: Final = 20 * SECOND
"""How long new streams must have stood before the old ones go, µs: also who waits for a slow database sees both."""


class HermesStreams:
    """As many streams as the wanted feeds take; ``make`` makes one of some feeds (ids of 32 bytes)."""

    def __init__(
        self, make: Callable[[Sequence[bytes]], HermesStream], clock: Clock, feed_ids: Sequence[bytes]
    ) -> None:
        self._make = make
        self._clock = clock
        self.feed_ids = tuple(dict.fromkeys(feed_ids))
        """The feeds to follow; may be replaced while it runs."""
        self._running: dict[HermesStream, asyncio.Task[None]] = {}

    @property
    def streams(self) -> tuple[HermesStream, ...]:
        """Those that run."""
        return tuple(self._running)

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Why one of them does not stand, in a word and a sentence; None while all do, or none is wanted."""
        return next(((one.failing_kind, one.failing) for one in self._running if one.failing), None)

    async def run(self) -> None:
        """Follow what is wanted until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = self._wanted()
                for feed_ids in wanted - {frozenset(stream.feed_ids) for stream in self._running}:
                    stream = self._make(sorted(feed_ids))
                    self._running[stream] = group.create_task(stream.run())
                self._let_go(wanted)
                await self._clock.sleep(LOOK_SECONDS)

    def _wanted(self) -> set[frozenset[bytes]]:
        ids = self.feed_ids
        return {frozenset(ids[start : start + FEEDS_AT_ONCE]) for start in range(0, len(ids), FEEDS_AT_ONCE)}

    def _let_go(self, wanted: set[frozenset[bytes]]) -> None:
        """End the streams of other feeds, once nobody misses them."""
        now = self._clock.now()
        stand = all(
            stream.connected_at is not None and now - stream.connected_at >= OVERLAP
            for stream in self._running
            if frozenset(stream.feed_ids) in wanted
        )
        for stream in self.streams:
            feed_ids = frozenset(stream.feed_ids)
            if feed_ids not in wanted and (stand or feed_ids.isdisjoint(self.feed_ids)):
                self._running.pop(stream).cancel()
