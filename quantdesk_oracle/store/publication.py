"""Marks told to listeners: ``LISTEN quantdesk_marks``, one small JSON object a mark.

    {"market": "BTC-PERP", "mark_price": "97000.5", "oracle_price": "97000.1", "at": "2026-02-02T02:40:00+00:00"}

Sent after the row is committed, so that whoever is told can read it. A daemon whose whole batch another one had
written already tells nothing; of a batch that was written in part it tells all: listeners go by ``at``. A listener
needs a connection of its own: a transaction pooler passes no notifications on.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import MarkPrice
from quantdesk_oracle.store.database import Database, query
from quantdesk_oracle.store.instants import to_timestamp

log = structlog.get_logger("store.publication")
CHANNEL = "quantdesk_marks"
Insert = Callable[[Sequence[MarkPrice]], Awaitable[int]]


def publishing(database: Database, insert: Insert) -> Insert:
    """``insert``, and after it a notification of each mark. One that fails is not sent again: the rows stand."""

    async def insert_and_tell(rows: Sequence[MarkPrice]) -> int:
        inserted = await insert(rows)
        if inserted:
            try:
                await notify(database, rows)
            except DatabaseError as error:
                log.debug("marks.untold", cause=str(error))
        return inserted

    return insert_and_tell


async def notify(database: Database, rows: Sequence[MarkPrice]) -> None:
    """Send a notification of each mark. Raises DatabaseError."""
    async with database.connection("cannot notify of marks") as connection:
        await connection.execute(query("notify_marks"), [_payload(row) for row in rows])


def _payload(mark: MarkPrice) -> str:
    return json.dumps(
        {
            "market": mark.market,
            "mark_price": f"{mark.mark_price:f}",
            "oracle_price": f"{mark.index_price:f}",
            "at": to_timestamp(mark.instant).isoformat(),
        }
    )
