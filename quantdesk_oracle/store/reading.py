"""What people and scripts read back: events by filter, and everything as it comes."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from quantdesk_oracle.model import Severity
from quantdesk_oracle.store.database import Connection, Database, query
from quantdesk_oracle.store.instants import to_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LATENESS = timedelta(seconds=10)
"""How long a row may take from its stamp to its commit and still be told by a tail."""
OLDEST_PRINT = timedelta(days=1)
"""A print that was published longer ago is healing's, and no news."""
REMEMBERED = 20_000
"""Rows that a tail remembers to have told."""
_FOREVER = 253_402_300_799_000_000


class EventFilter(NamedTuple):
    """Which events are wanted. Instants in µs; ``kind`` is a type, or a pattern with *."""

    since: int
    until: int | None = None
    severity: Severity = Severity.INFO
    market: str | None = None
    kind: str | None = None
    limit: int = 100


class StoredEvent(NamedTuple):
    """One row of system_events."""

    key: str
    created_at: datetime
    type: str
    severity: str
    market: str | None
    data: dict[str, Any]


class Stream(StrEnum):
    """What can be tailed."""

    PRINTS = "prints"
    MARKS = "marks"
    EVENTS = "events"


class News(NamedTuple):
    """One row that has come in."""

    stream: Stream
    row: dict[str, Any]


async def read_events(database: Database, wanted: EventFilter) -> list[StoredEvent]:
    """The newest events that pass, newest first."""
    async with database.connection("cannot read system_events") as connection:
        return await _events(connection, wanted)


async def _events(connection: Connection, wanted: EventFilter) -> list[StoredEvent]:
    rows = await connection.fetch(
        query("events"),
        to_timestamp(wanted.since),
        to_timestamp(wanted.until if wanted.until is not None else _FOREVER),
        wanted.severity.value,
        wanted.market,
        _pattern(wanted.kind),
        wanted.limit,
    )
    return [
        StoredEvent(
            r["key"], r["created_at"], r["event_type"], r["severity"], r["market"], json.loads(r["data"])
        )
        for r in rows
    ]


def _pattern(kind: str | None) -> str | None:
    """``feed.*`` as LIKE wants it, everything else literally."""
    if kind is None:
        return None
    literal = kind.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return literal.replace("*", "%")


class Tail:
    """Tells each row once, in the order of its stamp, also where it was committed a few seconds late."""

    def __init__(
        self,
        database: Database,
        streams: Sequence[Stream],
        since: int,
        market: str | None,
        severity: Severity,
    ) -> None:
        self._database = database
        self._streams = streams
        self._since = since
        self._market = market
        self._severity = severity
        self._told: OrderedDict[tuple[Any, ...], None] = OrderedDict()

    async def read(self, now: int) -> list[News]:
        """What has come in since the last call; ``now`` in µs."""
        start = to_timestamp(self._since) - LATENESS if self._told else to_timestamp(self._since)
        async with self._database.connection("cannot read what is new") as connection:
            found = [news for stream in self._streams for news in await self._read(connection, stream, start)]
        self._since = max(self._since, now)
        return list(self._unheard(found))

    async def _read(self, connection: Connection, stream: Stream, start: datetime) -> list[News]:
        if stream is Stream.PRINTS:
            rows = await connection.fetch(query("tail_prints"), start, start - OLDEST_PRINT, self._market)
        elif stream is Stream.MARKS:
            rows = await connection.fetch(query("tail_marks"), start, self._market)
        else:
            since = int(start.timestamp() * 1_000_000)
            events = await _events(
                connection, EventFilter(since, None, self._severity, self._market, None, 1_000)
            )
            return [News(stream, event._asdict()) for event in reversed(events)]
        return [News(stream, dict(row)) for row in rows]

    def _unheard(self, found: list[News]) -> Iterator[News]:
        for news in found:
            row = news.row
            key = (news.stream, row.get("key"), row.get("market"), row["created_at"], row.get("slot"))
            if key not in self._told:
                self._told[key] = None
                yield news
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
