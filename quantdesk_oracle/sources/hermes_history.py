"""The past as Hermes and Benchmarks keep it: moments forward one by one, minutes back in one request each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.model import SECOND, PriceUpdate, Source
from quantdesk_oracle.sources.hermes import FEEDS_AT_ONCE, LONGEST_HISTORY, HermesNothingError
from quantdesk_oracle.sources.history import Found, Page, Wanted

if TYPE_CHECKING:
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.retry import Patience
    from quantdesk_oracle.sources.hermes import HermesClient

MOMENTS: Final = 20
"""Moments that are committed together."""
_NOTHING: Final = 60
"""Seconds to go on after a moment that Hermes has nothing of."""


class BenchmarksPages:
    """Every print of a minute in one request, newest minute first."""

    source = Source.BENCHMARKS
    together = FEEDS_AT_ONCE

    def __init__(self, client: HermesClient, patience: Patience) -> None:
        self._client = client
        self._patiently = patience

    def why_not(self, feed: Feed) -> str | None:
        """It wants a feed id."""
        return None if feed.feed_id is not None else "it has no feed_id"

    async def pages(self, wanted: Sequence[Wanted]) -> AsyncIterator[Page]:
        """From the cursor, the start of the last minute read, back to the range's start."""
        start, end = _seconds(wanted)
        ids = _ids(wanted)
        until = int(wanted[0].gap.cursor or end)
        while until > start:
            begin = max(until - LONGEST_HISTORY, start)
            updates = await self._minute(begin, until, ids)
            found = _found(wanted, [one for one in updates if begin <= one.publish_time < until], self.source)
            yield Page(found=found, cursor=str(begin), read=(end - begin) * SECOND)
            until = begin

    async def _minute(self, begin: int, until: int, ids: list[bytes]) -> list[PriceUpdate]:
        try:
            return await self._patiently(lambda: self._client.between(begin, until, ids))
        except HermesNothingError:
            return []


class HermesPages:
    """The first print of each moment, a request each, forward; ``every`` so many seconds, 1: every print there is."""

    source = Source.HERMES
    together = FEEDS_AT_ONCE

    def __init__(self, client: HermesClient, patience: Patience, *, every: int = 1) -> None:
        self._client = client
        self._patiently = patience
        self._every = every

    def why_not(self, feed: Feed) -> str | None:
        """It wants a feed id."""
        return None if feed.feed_id is not None else "it has no feed_id"

    async def pages(self, wanted: Sequence[Wanted]) -> AsyncIterator[Page]:
        """From the cursor, the next moment to ask for, up to the range's end."""
        start, end = _seconds(wanted)
        ids = _ids(wanted)
        moment, seen = int(wanted[0].gap.cursor or start), set[tuple[bytes | None, tuple[int, int]]]()
        while moment < end:
            updates: list[PriceUpdate] = []
            for _ in range(MOMENTS):
                new = await self._moment(moment, ids)
                # Slower feeds' prints come again with each moment of a faster one.
                updates += [one for one in new if (one.feed_id, one.identity) not in seen]
                seen = {(one.feed_id, one.identity) for one in new}
                first = min((one.publish_time for one in new), default=moment + _NOTHING - 1)
                moment = max(first + 1, moment + self._every)
                if moment >= end:
                    break
            found = _found(wanted, [one for one in updates if start <= one.publish_time < end], self.source)
            yield Page(found=found, cursor=str(moment), read=(min(moment, end) - start) * SECOND)

    async def _moment(self, moment: int, ids: list[bytes]) -> list[PriceUpdate]:
        try:
            return await self._patiently(lambda: self._client.at(moment, ids))
        except HermesNothingError:
            return []


def _seconds(wanted: Sequence[Wanted]) -> tuple[int, int]:
    """The publish times of [start, end) that lie in the range."""
    gap = wanted[0].gap
    return -(-gap.from_time // SECOND), -(-gap.to_time // SECOND)


def _ids(wanted: Sequence[Wanted]) -> list[bytes]:
    return list(dict.fromkeys(each.feed.feed_id for each in wanted if each.feed.feed_id is not None))


def _found(wanted: Sequence[Wanted], updates: Sequence[PriceUpdate], source: Source) -> list[Found]:
    """Each print for every market that wants its feed."""
    return [
        Found(each.market.symbol, update, source)
        for update in updates
        for each in wanted
        if each.feed.feed_id == update.feed_id
    ]
