"""The past as Hermes and Benchmarks keep it: moments forward one by one, minutes back in one request each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.model import SECOND, PriceUpdate, Reason, Source
from quantdesk_oracle.sources.hermes import FEEDS_AT_ONCE, LONGEST_HISTORY, HermesNothingError, Prints
from quantdesk_oracle.sources.history import Found, Page, Wanted

if TYPE_CHECKING:
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.retry import Patience
    from quantdesk_oracle.sources.hermes import HermesClient, HermesHosts

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
            prints = await self._minute(begin, until, ids)
            inside = [one for one in prints.updates if begin <= one.publish_time < until]
            yield Page(
                found=_found(wanted, inside, self.source),
                cursor=str(begin),
                read=(end - begin) * SECOND,
                refused=prints.unreadable,
            )
            until = begin

    async def _minute(self, begin: int, until: int, ids: list[bytes]) -> Prints:
        try:
            return await self._patiently(lambda: self._client.between(begin, until, ids))
        except HermesNothingError:
            return Prints([], Counter())


class HermesPages:
    """The first print of each moment, a request each, forward; ``every`` so many seconds, 1: every print there is."""

    source = Source.HERMES
    together = FEEDS_AT_ONCE

    def __init__(self, client: HermesClient | HermesHosts, patience: Patience, *, every: int = 1) -> None:
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
            updates, refused = list[PriceUpdate](), Counter[Reason]()
            for _ in range(MOMENTS):
                new, unreadable = await self._moment(moment, ids)
                refused += unreadable
                # Slower feeds' prints come again with each moment of a faster one.
                updates += [one for one in new if (one.feed_id, one.identity) not in seen]
                seen = {(one.feed_id, one.identity) for one in new}
                nothing = moment if unreadable else moment + _NOTHING - 1
                first = min((one.publish_time for one in new), default=nothing)
                moment = max(first + 1, moment + self._every)
                if moment >= end:
                    break
            found = _found(wanted, [one for one in updates if start <= one.publish_time < end], self.source)
            read = (min(moment, end) - start) * SECOND
            yield Page(found=found, cursor=str(moment), read=read, refused=refused)

    async def _moment(self, moment: int, ids: list[bytes]) -> Prints:
        try:
            return await self._patiently(lambda: self._client.at(moment, ids))
        except HermesNothingError:
            return Prints([], Counter())


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
