"""Committed rows, read for whoever passes them on: by their instants, and counted by the minute."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from quantdesk_oracle.store.database import Database, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp

STREAMS = {"oracle_prices": "price", "mark_prices": "mark", "funding_rates": "funding"}
"""Table → the word for it in subjects and identities."""
MINUTE = 60_000_000


class Passed(NamedTuple):
    """A row as it is passed on."""

    key: str
    """Its identity: the same row has the same key, whoever reads it."""
    market: str
    instant: int
    """µs."""
    values: dict[str, str | int | None]
    """Every column; numbers that are not whole as decimal strings, times as ISO 8601."""


async def rows_between(database: Database, table: str, start: int, end: int) -> list[Passed]:
    """The rows of [start, end) (µs), oldest first. Raises DatabaseError."""
    async with database.connection(f"cannot read {table}") as connection:
        rows = await connection.fetch(query(f"tail_{table}"), to_timestamp(start), to_timestamp(end))
    return [_passed(STREAMS[table], row) for row in rows]


async def minutes_between(database: Database, table: str, start: int, end: int) -> dict[int, int]:
    """How many rows each minute of [start, end) (µs) holds, by the minute's number. Raises DatabaseError."""
    async with database.connection(f"cannot count {table}") as connection:
        rows = await connection.fetch(query(f"count_{table}"), to_timestamp(start), to_timestamp(end))
    return {row["minute"]: row["rows"] for row in rows}


def _passed(word: str, row: Any) -> Passed:
    instant = to_instant(row["created_at"])
    slot = f":{row['slot']}" if "slot" in row.keys() else ""  # noqa: SIM118 (a Record has no `in`)
    values = {name: _plain(value) for name, value in row.items()}
    return Passed(f"{word}:{row['symbol']}:{instant}{slot}", row["symbol"], instant, values)


def _plain(value: object) -> str | int | None:
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
