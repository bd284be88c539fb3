"""How far each feed's history has been watched and read, and the ranges that were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from quantdesk_oracle.model import SECOND, Source
from quantdesk_oracle.store.database import query
from quantdesk_oracle.store.instants import to_instant, to_timestamp

if TYPE_CHECKING:
    from uuid import UUID

    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.series import MarketIds

OPEN = "open"
HEALING = "healing"
CLOSED = "closed"
UNRECOVERABLE = "unrecoverable"
BACKFILL = "backfill"
"""The cause of a gap that somebody asked for; the daemon leaves those to whoever asked."""
_PUBLISH_SLACK = 3_600 * SECOND
"""How far a print's publish time may be from the time of its block, µs."""


class FeedKey(NamedTuple):
    """A feed of a market: what watermarks and gaps are kept for."""

    market: str
    account: str


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a feed has been watched live, and how far its history has been compared. Instants in µs."""

    key: FeedKey
    watched_slot: int
    watched_at: int
    verified_slot: int
    verified_at: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of a feed's history to be read: slots after ``from_slot`` up to and with ``to_slot``.

    Without slots, the range is that of block times from ``from_time`` up to, not with, ``to_time`` (µs). Where the
    slots have begun anew between, it ends before it begins: it is from ``from_time`` up to and with ``to_slot``.
    """

    key: FeedKey
    cause: str
    from_time: int
    to_time: int
    from_slot: int | None = None
    to_slot: int | None = None
    source: Source = Source.CHAIN
    state: str = OPEN
    id: int = 0
    """0: not in the database."""
    cursor: str | None = None
    cursor_slot: int | None = None
    found: int = 0
    inserted: int = 0
    rejected: int = 0
    reason: str | None = None

    @property
    def bounds(self) -> tuple[int, int, int | None, int | None, str | None]:
        """What ranges have in common that can be read together: where they begin and end, and how far they are read."""
        return self.from_time, self.to_time, self.from_slot, self.to_slot, self.cursor

    @property
    def began_anew(self) -> bool:
        """Whether the chain's slots began anew within the range."""
        return self.from_slot is not None and self.to_slot is not None and self.to_slot < self.from_slot

    def is_before(self, slot: int, block_time: int | None) -> bool:
        """Whether something of this slot and block time (s) lies before the range."""
        if self.from_slot is not None and not self.began_anew:
            return slot <= self.from_slot
        return block_time is not None and block_time * SECOND < self.from_time

    def is_after(self, slot: int, block_time: int | None) -> bool:
        """Whether something of this slot and block time (s) lies after the range."""
        if self.to_slot is not None:
            return slot > self.to_slot
        return block_time is not None and block_time * SECOND >= self.to_time

    def read(self, *, found: int, inserted: int, rejected: int, cursor: str, cursor_slot: int | None) -> Gap:
        """The gap after some more of it has been read and committed."""
        return replace(
            self,
            state=HEALING,
            cursor=cursor,
            cursor_slot=cursor_slot,
            found=self.found + found,
            inserted=self.inserted + inserted,
            rejected=self.rejected + rejected,
        )


async def read_watermarks(database: Database, markets: MarketIds) -> dict[FeedKey, Watermark]:
    """The watermarks of these markets' feeds."""
    symbols = _symbols(markets)
    async with database.connection("cannot read the watermarks") as connection:
        rows = await connection.fetch(query("watermarks"), list(symbols))
    found = (
        Watermark(
            FeedKey(symbols[row["market_id"]], row["account"]),
            row["watched_slot"],
            to_instant(row["watched_at"]),
            row["verified_slot"],
            to_instant(row["verified_at"]),
        )
        for row in rows
    )
    return {mark.key: mark for mark in found}


async def read_watermarks_behind(
    database: Database, markets: MarketIds, marks: Mapping[FeedKey, Watermark]
) -> list[Watermark]:
    """The stored watermarks that are behind ``marks``, which had been written down: the database has lost them."""
    stored = await read_watermarks(database, markets)
    return [
        kept
        for key, kept in stored.items()
        if key in marks
        and (kept.watched_slot, kept.watched_at) < (marks[key].watched_slot, marks[key].watched_at)
    ]


async def move_watermarks(database: Database, markets: MarketIds, marks: Sequence[Watermark]) -> None:
    """Move these watermarks forward; none ever moves back."""
    async with database.connection("cannot move the watermarks") as connection:
        await connection.execute(
            query("move_watermarks"),
            [markets[mark.key.market] for mark in marks],
            [mark.key.account for mark in marks],
            [mark.watched_slot for mark in marks],
            [mark.watched_at for mark in marks],
            [mark.verified_slot for mark in marks],
            [mark.verified_at for mark in marks],
        )


async def set_watermarks(database: Database, markets: MarketIds, marks: Sequence[Watermark]) -> None:
    """Write these watermarks down as they are, back too: the chain's slots have begun anew."""
    async with database.connection("cannot set the watermarks") as connection:
        for mark in marks:
            await connection.execute(
                query("set_watermark"),
                markets[mark.key.market],
                mark.key.account,
                mark.watched_slot,
                to_timestamp(mark.watched_at),
                mark.verified_slot,
                to_timestamp(mark.verified_at),
            )


async def open_gap(database: Database, markets: MarketIds, gap: Gap) -> Gap | None:
    """Note a gap; None where an unfinished one holds all of it already."""
    (noted,) = await open_gaps(database, markets, [gap])
    return noted


async def open_gaps(database: Database, markets: MarketIds, gaps: Sequence[Gap]) -> list[Gap | None]:
    """The same of several, all at once or none: whoever heals them sees all that can be read together."""
    noted = []
    async with database.transaction("cannot note a gap") as connection:
        for gap in gaps:
            number = await connection.fetchval(
                query("open_gap"),
                markets[gap.key.market],
                gap.key.account,
                gap.source.value,
                gap.cause,
                gap.from_slot,
                gap.to_slot,
                to_timestamp(gap.from_time),
                to_timestamp(gap.to_time),
                gap.state,
                gap.reason,
            )
            noted.append(None if number is None else replace(gap, id=number))
    return noted


async def unfinished_gaps(database: Database, markets: MarketIds, *, backfill: bool = False) -> list[Gap]:
    """The gaps that have not been read to their end, newest first."""
    async with database.connection("cannot read the gaps") as connection:
        rows = await connection.fetch(query("unfinished_gaps"), list(markets.values()), backfill)
    return [_gap(row, _symbols(markets)) for row in rows]


async def finished_backfills(
    database: Database, markets: MarketIds, source: Source, unfinished: Sequence[Gap]
) -> list[Gap]:
    """The ranges that `backfill` has read to their end since the first of ``unfinished`` was noted."""
    numbers = [gap.id for gap in unfinished]
    async with database.connection("cannot read the gaps") as connection:
        rows = await connection.fetch(
            query("finished_backfills"), list(markets.values()), source.value, numbers
        )
    return [_gap(row, _symbols(markets)) for row in rows]


async def gaps_between(
    database: Database, markets: MarketIds, market: str, start: int, end: int
) -> list[Gap]:
    """Every gap of a market that touches [start, end) (µs), oldest first."""
    async with database.connection("cannot read the gaps") as connection:
        rows = await connection.fetch(
            query("gaps_between"), markets[market], to_timestamp(start), to_timestamp(end)
        )
    return [replace(_gap(row, _symbols(markets)), reason=row["reason"]) for row in rows]


async def save_gap(database: Database, gap: Gap) -> None:
    """Write down how far a gap has been read. What was read must be committed."""
    await save_gaps(database, [gap])


async def save_gaps(database: Database, gaps: Sequence[Gap]) -> None:
    """The same of several, all at once or none: what was read together goes on together."""
    async with database.transaction("cannot save the gaps' progress") as connection:
        for gap in gaps:
            await connection.execute(
                query("save_gap"),
                gap.id,
                gap.state,
                gap.cursor,
                gap.cursor_slot,
                gap.found,
                gap.inserted,
                gap.rejected,
                gap.reason,
                gap.source.value,
            )


async def stored_slots(
    database: Database, market: UUID, slots: Sequence[int], first: int, last: int
) -> dict[int, int]:
    """How many prints a market has in each of ``slots``, whose blocks are of [first, last] (µs)."""
    async with database.connection("cannot look for stored prints") as connection:
        rows = await connection.fetch(
            query("stored_slots"),
            market,
            list(slots),
            to_timestamp(first - _PUBLISH_SLACK),
            to_timestamp(last + _PUBLISH_SLACK),
        )
    return {row["slot"]: row["prints"] for row in rows}


async def newest_before(
    database: Database, market: UUID, slot: int, start: int, end: int, *, received_before: int
) -> tuple[int, int] | None:
    """A market's newest print from its account before ``slot``, published in [start, end]: its slot and when. µs."""
    times = [to_timestamp(instant) for instant in (start, end, received_before)]
    async with database.connection("cannot look for stored prints") as connection:
        row = await connection.fetchrow(query("newest_print_before_slot"), market, slot, *times)
    return None if row is None else (row["slot"], to_instant(row["created_at"]))


async def newest_of(
    database: Database,
    market: UUID,
    sources: Sequence[Source],
    start: int,
    end: int,
    *,
    received_before: int,
) -> tuple[int, int] | None:
    """When a market's newest print of these sources was published in [start, end], and its slot. µs."""
    times = [to_timestamp(instant) for instant in (start, end, received_before)]
    names = [source.value for source in sources]
    async with database.connection("cannot look for stored prints") as connection:
        row = await connection.fetchrow(query("newest_print_of"), market, names, *times)
    return None if row is None else (to_instant(row["created_at"]), row["slot"])


def _symbols(markets: MarketIds) -> dict[UUID, str]:
    return {key: symbol for symbol, key in markets.items()}


def _gap(row: Any, symbols: Mapping[UUID, str]) -> Gap:
    return Gap(
        key=FeedKey(symbols[row["market_id"]], row["account"]),
        cause=row["cause"],
        from_time=to_instant(row["from_time"]),
        to_time=to_instant(row["to_time"]),
        from_slot=row["from_slot"],
        to_slot=row["to_slot"],
        source=Source(row["source"]),
        state=row["state"],
        id=row["id"],
        cursor=row["cursor"],
        cursor_slot=row["cursor_slot"],
        found=row["found"],
        inserted=row["inserted"],
        rejected=row["rejected"],
    )


async def parts_with_prints(
    database: Database, market: UUID, start: int, width: int, parts: int
) -> list[bool]:
    """Whether a market has prints in each of the ``parts`` of ``width`` (µs) from ``start`` (µs) on."""
    async with database.connection("cannot look for stored prints") as connection:
        rows = await connection.fetch(
            query("parts_with_prints"), market, to_timestamp(start), width / SECOND, parts
        )
    return [row["printed"] for row in rows]


async def prints_by_part(database: Database, market: UUID, start: int, end: int, parts: int) -> list[int]:
    """How many prints a market has in each of ``parts`` equal parts of [start, end) (µs)."""
    seconds = (end - start) / parts / SECOND
    async with database.connection("cannot count prints") as connection:
        rows = await connection.fetch(
            query("prints_by_bucket"), market, to_timestamp(start), to_timestamp(end), seconds
        )
    counts = [0] * parts
    for row in rows:
        counts[min(row["part"], parts - 1)] += row["prints"]
    return counts
