"""The daemons that share a database, each with a row that it renews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quantdesk_oracle.store.database import Database, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp

GONE_SECONDS = 30.0
"""A row that nobody has renewed for so long is that of a daemon that is gone, or cut off."""


class Beat(NamedTuple):
    """What a daemon says of itself when it renews its row."""

    id: str
    host: str
    version: str
    markets: Sequence[str]
    started: int
    """µs."""
    ready: bool
    spool_rows: int
    ends: bool = False


class DaemonInstance(NamedTuple):
    """A daemon as its row has it."""

    id: str
    host: str
    version: str
    markets: list[str]
    started: int
    """µs, by its own clock."""
    state: str
    """running, stopped (in peace) or gone (its row is not renewed)"""
    seen_age: float
    """Seconds since it renewed its row."""
    ready: bool
    spool_rows: int


async def renew_instance(database: Database, beat: Beat) -> None:
    """Renew a daemon's row, made where it has none. Raises DatabaseError."""
    async with database.connection("cannot renew the daemon's row") as connection:
        await connection.execute(
            query("renew_instance"),
            beat.id,
            beat.host,
            beat.version,
            list(beat.markets),
            to_timestamp(beat.started),
            beat.ready,
            beat.spool_rows,
            beat.ends,
        )


async def read_instances(database: Database) -> list[DaemonInstance]:
    """The daemons of the last day, those that run first. Raises DatabaseError."""
    async with database.connection("cannot read the daemons' rows") as connection:
        rows = await connection.fetch(query("instances"))
    return [
        DaemonInstance(
            id=row["id"],
            host=row["host"],
            version=row["version"],
            markets=row["markets"],
            started=to_instant(row["started_at"]),
            state=_state(row["stopped_at"] is not None, row["seen_age"]),
            seen_age=round(row["seen_age"], 3),
            ready=row["ready"],
            spool_rows=row["spool_rows"],
        )
        for row in rows
    ]


def _state(stopped: bool, seen_age: float) -> str:
    if stopped:
        return "stopped"
    return "running" if seen_age < GONE_SECONDS else "gone"
