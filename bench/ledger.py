"""What a feeder pushed against what stands in the table, and how long each print took on its way."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

_LOAD = """
    CREATE TEMPORARY TABLE pushed (symbol text, publish_time bigint, slot bigint, exponent smallint, price numeric,
                                   confidence numeric, ema_price numeric, ema_confidence numeric, sent bigint)
"""
_PUSHED = """
    CREATE TEMPORARY TABLE ledger AS
    SELECT m.id AS market_id, to_timestamp(publish_time) AS created_at, slot,
           price * power(10::numeric, exponent) AS price, confidence * power(10::numeric, exponent) AS confidence, sent
    FROM pushed JOIN markets AS m USING (symbol)
"""
_LOST = """
    SELECT count(*) FROM (SELECT market_id, created_at, slot, price, confidence FROM ledger
                          EXCEPT SELECT market_id, created_at, slot, price, confidence FROM oracle_prices) AS lost
"""
_INVENTED = """
    SELECT count(*) FROM (SELECT market_id, created_at, slot, price, confidence FROM oracle_prices WHERE slot > $1
                          EXCEPT SELECT market_id, created_at, slot, price, confidence FROM ledger) AS invented
"""
_LATENCY = """
    SELECT count(*) AS rows,
           percentile_cont('{0.5,0.99,0.999}'::float8[]) WITHIN GROUP (
               ORDER BY extract(epoch FROM pg_xact_commit_timestamp(p.xmin) - p.received_at) * 1e3) AS received,
           percentile_cont('{0.5,0.99,0.999}'::float8[]) WITHIN GROUP (
               ORDER BY extract(epoch FROM pg_xact_commit_timestamp(p.xmin)) * 1e3 - l.sent / 1e3) AS sent
    FROM ledger AS l JOIN oracle_prices AS p USING (market_id, created_at, slot)
    WHERE l.sent BETWEEN $1 AND $2
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds at p50, p99 and p99.9."""

    rows: int
    received_to_committed: tuple[float, ...]
    sent_to_committed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """Prints pushed and not stored as they were, and rows that nobody pushed."""

    prints: int
    lost: int
    invented: int


async def load(connection: asyncpg.Connection, file: str) -> int:
    """Bring a feeder's ledger into temporary tables of ``connection``; how many prints."""
    await connection.execute(_LOAD)
    await connection.copy_to_table("pushed", source=file, format="csv")
    await connection.execute(_PUSHED)
    await connection.execute(
        "CREATE INDEX ON ledger (market_id, created_at, slot); ANALYZE ledger; ANALYZE oracle_prices"
    )
    return int(await connection.fetchval("SELECT count(*) FROM ledger"))


async def compared(connection: asyncpg.Connection, prints: int, first_slot: int) -> Truth:
    """The table against the ledger, value by value."""
    lost = await connection.fetchval(_LOST)
    return Truth(prints, lost, await connection.fetchval(_INVENTED, first_slot))


async def latency(connection: asyncpg.Connection, since: int, until: int) -> Latency:
    """Of the prints that were sent between two instants (µs)."""
    row = await connection.fetchrow(_LATENCY, since, until)
    return Latency(row["rows"], tuple(row["received"] or ()), tuple(row["sent"] or ()))
