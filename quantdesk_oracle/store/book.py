"""The order books of all markets as they are now: one statement, whatever the number of markets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from quantdesk_oracle.pricing.book import TRADE_SECONDS, Book, Level, Trade, impact_price
from quantdesk_oracle.store.database import Connection, Database, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp

FIRST_LOOK = 24
"""Orders of a side that are looked at; only where they do not reach the impact notional, more of them are."""
DEEPER = 32
DEEPEST = 786_432
"""24 · 32³: beyond it a side counts as shallow."""


async def read_books(
    database: Database, markets: Mapping[str, UUID], notionals: Mapping[str, Decimal], instant: int
) -> dict[str, Book]:
    """The book of every market of ``notionals`` (quote units) by symbol, at ``instant`` (µs).

    Each side is as deep as its notional asks for. Raises DatabaseError: then nothing is known of any book.
    """
    books: dict[str, Book] = {}
    waiting, looked = list(notionals), FIRST_LOOK
    async with database.connection("cannot read the order books") as connection:
        while waiting:
            rows = await _read(
                connection, [(markets[name], notionals[name]) for name in waiting], instant, looked
            )
            found = {name: rows[markets[name]] for name in waiting}
            books.update({name: _book(row) for name, row in found.items()})
            looked *= DEEPER
            if looked > DEEPEST:
                break
            waiting = [
                name
                for name in waiting
                if _cut_short(found[name], books[name], notionals[name], looked // DEEPER)
            ]
    return books


async def _read(
    connection: Connection, markets: Sequence[tuple[UUID, Decimal]], instant: int, looked: int
) -> dict[UUID, Any]:
    keys, notionals = zip(*markets, strict=True)
    rows = await connection.fetch(
        query("read_books"), keys, notionals, to_timestamp(instant), looked, TRADE_SECONDS
    )
    return {row["market_id"]: row for row in rows}


def _cut_short(row: Any, book: Book, notional: Decimal, looked: int) -> bool:
    """Whether a side has more orders than were looked at, and would need them."""
    sides = ((book.bids, row["bids_looked"]), (book.asks, row["asks_looked"]))
    return any(count >= looked and impact_price(levels, notional) is None for levels, count in sides)


def _book(row: Any) -> Book:
    trade = None
    if row["trade_price"] is not None:
        trade = Trade(row["trade_price"], to_instant(row["trade_time"]))
    return Book(
        _levels(row["bid_prices"], row["bid_sizes"]), _levels(row["ask_prices"], row["ask_sizes"]), trade
    )


def _levels(prices: Sequence[Decimal] | None, sizes: Sequence[Decimal] | None) -> tuple[Level, ...]:
    return tuple(map(Level, prices or (), sizes or ()))


class RecentMark(NamedTuple):
    """What a stored mark says of its book."""

    instant: int
    index_price: Decimal
    best_bid: Decimal | None
    best_ask: Decimal | None
    ema_state: str | None


async def recent_marks(
    database: Database, markets: Mapping[str, UUID], after: int, until: int
) -> dict[str, list[RecentMark]]:
    """The marks of (after, until] (µs) by market symbol, oldest first."""
    symbols = {key: symbol for symbol, key in markets.items()}
    marks: dict[str, list[RecentMark]] = {symbol: [] for symbol in markets}
    async with database.connection("cannot read the newest marks") as connection:
        rows = await connection.fetch(
            query("recent_marks"), list(symbols), to_timestamp(after), to_timestamp(until)
        )
    for row in rows:
        marks[symbols[row["market_id"]]].append(RecentMark(to_instant(row["created_at"]), *tuple(row)[2:]))
    return marks
