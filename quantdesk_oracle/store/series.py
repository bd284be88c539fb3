"""What the daemon writes into the time series: one statement over arrays a batch, idempotent by key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from quantdesk_oracle.model import SECOND, Event, MarkPrice, PremiumSample, StoredPrint
from quantdesk_oracle.pricing.digest import mark_digest
from quantdesk_oracle.store.database import Database, RowFaultError, query
from quantdesk_oracle.store.instants import to_instant, to_seconds, to_timestamp

MarketIds = Mapping[str, UUID]
_CLOCKS_APART = 3 * SECOND
"""µs that the database's clock may be behind ours; beyond that no daemon writes marks (workers.clock_guard)."""
_A_LITTLE = 0.005


class StoredMark(NamedTuple):
    """A mark as it stands in the table, whoever wrote it."""

    instant: int
    mark_price: Decimal
    index_price: Decimal
    publish_time: int
    slot: int
    status: str


async def insert_oracle_prices(database: Database, markets: MarketIds, rows: Sequence[StoredPrint]) -> int:
    """Store prints; how many were new. Raises DatabaseError, of which RowFaultError names a row at fault."""
    keys, updates = _keys(markets, rows, "oracle prices"), [row.update for row in rows]
    async with database.connection("cannot store oracle prices") as connection:
        status = await connection.execute(
            query("insert_oracle_prices"),
            keys,
            [update.publish_time for update in updates],
            [update.slot for update in updates],
            [row.received for row in rows],
            [row.source.value for row in rows],
            [row.verdict.value for row in rows],
            [update.exponent for update in updates],
            [update.price for update in updates],
            [update.confidence for update in updates],
            [update.ema_price for update in updates],
            [str(update.ema_confidence) for update in updates],
        )
    return _count(status)


async def insert_mark_prices(database: Database, markets: MarketIds, rows: Sequence[MarkPrice]) -> int:
    """Store marks; how many were the first of their instant.

    The database takes none of the future. Where its clock is a little behind ours, it is waited for: a second
    that one daemon alone computes must not be missing for it.
    """
    inserted = await _insert_marks(database, markets, rows)
    if inserted < len(rows):
        ahead = max(row.instant for row in rows) - await database_clock(database)
        if -_CLOCKS_APART < ahead < _CLOCKS_APART:
            await asyncio.sleep(max(ahead, 0) / SECOND + _A_LITTLE)
            inserted += await _insert_marks(database, markets, rows)
    return inserted


async def _insert_marks(database: Database, markets: MarketIds, rows: Sequence[MarkPrice]) -> int:
    keys = _keys(markets, rows, "mark prices")
    async with database.connection("cannot store mark prices") as connection:
        status = await connection.execute(
            query("insert_mark_prices"),
            keys,
            [row.instant for row in rows],
            [row.mark_price for row in rows],
            [row.index_price for row in rows],
            [row.publish_time for row in rows],
            [row.slot for row in rows],
            [row.funding_rate for row in rows],
            [row.seconds_to_funding for row in rows],
            [row.funding_interval for row in rows],
            [row.method for row in rows],
            [row.parameter_version for row in rows],
            [row.status.value for row in rows],
            [row.best_bid for row in rows],
            [row.best_ask for row in rows],
            [row.last_trade_price for row in rows],
            [row.last_trade_at for row in rows],
            [row.basis_sum for row in rows],
            [row.basis_count for row in rows],
            [row.basis_mean for row in rows],
            [row.ema_state for row in rows],
            [mark_digest(row) for row in rows],
        )
    return _count(status)


async def marks_at(database: Database, markets: MarketIds, instant: int) -> dict[str, StoredMark]:
    """The marks that stand at ``instant``, by market symbol."""
    symbols = {key: symbol for symbol, key in markets.items()}
    async with database.connection("cannot read mark prices") as connection:
        rows = await connection.fetch(query("marks_at"), list(symbols), to_timestamp(instant))
    return {
        symbols[row["market_id"]]: StoredMark(
            to_instant(row["created_at"]),
            row["mark_price"],
            row["oracle_price"],
            to_seconds(row["oracle_publish_time"]),
            row["oracle_slot"],
            row["status"],
        )
        for row in rows
    }


async def insert_premium_samples(
    database: Database, markets: MarketIds, rows: Sequence[PremiumSample]
) -> int:
    """Store samples; how many were the first of their instant. A settled interval makes them `late`."""
    keys = _keys(markets, rows, "premium samples")
    async with database.transaction("cannot store premium samples") as connection:
        # Two statements: the second one's snapshot must see what a settlement has committed meanwhile.
        await connection.execute(query("hold_markets"), sorted(set(keys)))
        status = await connection.execute(
            query("insert_premium_samples"),
            keys,
            [row.instant for row in rows],
            [row.premium for row in rows],
            [row.index_price for row in rows],
            [row.publish_time for row in rows],
            [row.slot for row in rows],
            [row.mark_instant for row in rows],
            [row.status for row in rows],
            [row.impact_bid for row in rows],
            [row.impact_ask for row in rows],
        )
    return _count(status)


async def insert_system_events(database: Database, rows: Sequence[Event]) -> int:
    """Store events; how many were new."""
    async with database.connection("cannot store system events") as connection:
        status = await connection.execute(query("insert_system_events"), *event_arguments(rows))
    return _count(status)


def event_arguments(events: Sequence[Event]) -> tuple[list[Any], ...]:
    """The arrays that schema/queries/insert_system_events.sql takes."""
    return (
        [event.id for event in events],
        [event.instant for event in events],
        [event.type for event in events],
        [event.severity.value for event in events],
        [json.dumps(event.data, default=str) for event in events],
        [event.market for event in events],
    )


async def database_clock(database: Database) -> int:
    """The database's clock, µs."""
    async with database.connection("cannot read the database's clock") as connection:
        return to_instant(await connection.fetchval(query("clock")))


async def upkeep(database: Database) -> list[tuple[str, str, int]]:
    """Let the schema look after its partitions; (table, what was done, how many)."""
    async with database.connection("cannot run the schema's upkeep") as connection:
        rows = await connection.fetch(query("upkeep"))
    return [(row["table_name"], row["action"], row["objects"]) for row in rows]


def sample_of(row: Any, market: str = "") -> PremiumSample:
    """A row of premium_samples as it was written."""
    published, named = row["oracle_publish_time"], row["mark_created_at"]
    return PremiumSample(
        market=market,
        instant=to_instant(row["created_at"]),
        premium=row["premium"],
        status=row["status"],
        index_price=row["index_price"],
        publish_time=None if published is None else to_seconds(published),
        slot=row["oracle_slot"],
        mark_instant=None if named is None else to_instant(named),
        impact_bid=row["impact_bid"],
        impact_ask=row["impact_ask"],
    )


def _keys(
    markets: MarketIds, rows: Sequence[StoredPrint | MarkPrice | PremiumSample], what: str
) -> list[UUID]:
    """The rows' markets; a row of one that is not configured, such as an old one of the spool, is at fault itself."""
    unknown = sorted({row.market for row in rows} - set(markets))
    if unknown:
        raise RowFaultError(f"cannot store {what}: no market {', '.join(unknown)} is configured")
    return [markets[row.market] for row in rows]


async def refresh_statistics(database: Database) -> int:
    """Recompute the days of market_stats and user_stats that rows have touched; how many days were."""
    async with database.connection("cannot refresh the statistics") as connection:
        return int(await connection.fetchval(query("refresh_statistics")))


def _count(status: str) -> int:
    """The number at the end of a command tag such as `INSERT 0 5`."""
    return int(status.rsplit(" ", 1)[1])
