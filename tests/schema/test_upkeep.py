"""Partitions: made ahead, dropped when they are due, never in a writer's way, never a row refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.schema.support import PLAIN, Database, market_of, plan, servers_named

server = servers_named(*PLAIN)


async def _insert(connection: Any, instant: datetime) -> None:
    await connection.execute(
        "INSERT INTO oracle_prices (market_id, price, exponent, created_at) VALUES ($1, 5, -8, $2)",
        await market_of(connection),
        instant,
    )


async def _seamless(connection: Any, table: str) -> bool:
    """Whether the partitions cover all of time without a gap."""
    query = """
        SELECT bool_and(lower = previous) AND min(lower) = '-infinity' AND max(upper) = 'infinity'
        FROM (SELECT lower, upper, lag(upper, 1, '-infinity') OVER (ORDER BY lower) AS previous
              FROM series_partitions($1)) AS p
    """
    return bool(await connection.fetchval(query, table))


async def test_partitions_cover_all_of_time_and_reach_ahead(owner: Any) -> None:
    for row in await owner.fetch("SELECT table_name, chunks_ahead, chunk_interval FROM time_series"):
        assert await _seamless(owner, row["table_name"])
        future = "SELECT lower FROM series_partitions($1) WHERE upper = 'infinity'"
        ahead = await owner.fetchval(future, row["table_name"]) - datetime.now(UTC)
        assert (
            row["chunk_interval"] * row["chunks_ahead"]
            < ahead
            <= row["chunk_interval"] * (row["chunks_ahead"] + 1)
        )


async def test_a_row_of_any_age_is_accepted(owner: Any) -> None:
    years = (1999, 2026, 2500)
    for year in years:
        await _insert(owner, datetime(year, 1, 1, tzinfo=UTC))
    assert await owner.fetchval("SELECT count(*) FROM oracle_prices") == len(years)


async def test_rows_of_the_future_find_their_partition_when_it_is_made(owner: Any) -> None:
    instants = [datetime.now(UTC) + timedelta(days=days) for days in (1, 30, 33, 400)]
    for instant in instants:
        await _insert(owner, instant)
    candles = await owner.fetchval("SELECT sum(n) FROM candles")
    await owner.execute("SELECT upkeep_at(now() + interval '50 days')")
    assert await _seamless(owner, "oracle_prices")
    assert await owner.fetchval("SELECT count(*) FROM oracle_prices") == 4
    assert await owner.fetchval("SELECT count(*) FROM partitions.oracle_prices_future") == 1
    assert await owner.fetchval("SELECT sum(n) FROM candles") == candles


async def test_retention_drops_whole_partitions_and_late_rows_and_keeps_candles(owner: Any) -> None:
    now = datetime.now(UTC)
    for days in (200, 120, 89, 0):
        await _insert(owner, now - timedelta(days=days))
    await owner.execute("SELECT upkeep()")
    kept = await owner.fetchval("SELECT count(*) FROM oracle_prices")
    assert kept == 2 or (
        kept == 3
        and await owner.fetchval("SELECT min(created_at) > now() - interval '104 days' FROM oracle_prices")
    )
    await owner.execute("SELECT upkeep_at(now() + interval '30 days')")
    assert (
        await owner.fetchval(
            "SELECT count(*) FROM oracle_prices WHERE created_at < now() - interval '67 days'"
        )
        == 0
    )
    assert await owner.fetchval("SELECT count(*) FROM oracle_prices") == 1
    assert await _seamless(owner, "oracle_prices")
    await _insert(owner, now - timedelta(days=150))
    assert await owner.fetchval("SELECT sum(n) FROM candles WHERE resolution = '1d'") == 5


async def test_upkeep_with_nothing_due_does_nothing(owner: Any) -> None:
    assert await owner.fetch("SELECT * FROM upkeep()") == []
    assert await owner.fetch("SELECT * FROM upkeep_due()") == []


async def test_what_is_due_is_said(owner: Any) -> None:
    await owner.execute("UPDATE time_series SET retention = '20 days' WHERE table_name = 'mark_prices'")
    due = await owner.fetch("SELECT * FROM upkeep_due()")
    assert [row["table_name"] for row in due] == ["mark_prices"]
    done = await owner.fetch("SELECT * FROM upkeep()")
    assert [(row["table_name"], row["action"]) for row in done] == [("mark_prices", "dropped")]
    assert await owner.fetch("SELECT * FROM upkeep_due()") == []


async def test_upkeep_twice_at_once_is_done_once(database: Database) -> None:
    other = await asyncpg.connect(database.dsn)
    ahead = "SELECT * FROM upkeep_at(now() + interval '30 days')"
    first, second = await asyncio.gather(database.owner.fetch(ahead), other.fetch(ahead))
    await other.close()
    assert sum(len(rows) > 1 for rows in (first, second)) >= 1
    assert await database.owner.fetch(ahead) == []
    for table in ("oracle_prices", "system_events"):
        assert await _seamless(database.owner, table)


async def test_upkeep_steps_back_for_a_writer_and_comes_again(database: Database) -> None:
    writer = await asyncpg.connect(database.dsn)
    transaction = writer.transaction()
    await transaction.start()
    await _insert(writer, datetime.now(UTC))
    ahead = "SELECT * FROM upkeep_at(now() + interval '30 days')"
    busy = {row["table_name"]: row["action"] for row in await database.owner.fetch(ahead)}
    assert busy["oracle_prices"].startswith("busy")
    await _insert(writer, datetime.now(UTC) + timedelta(days=1))
    await transaction.commit()
    await writer.close()
    assert "oracle_prices" in {row["table_name"] for row in await database.owner.fetch(ahead)}
    assert await database.owner.fetchval("SELECT count(*) FROM oracle_prices") == 2


async def test_new_partitions_of_private_series_are_guarded(owner: Any) -> None:
    await owner.execute("SELECT upkeep_at(now() + interval '300 days')")
    rows = await owner.fetch("""
        SELECT c.relname::text AS name, c.relrowsecurity AS guarded, c.relacl::text AS acl FROM pg_class AS c
        WHERE c.relnamespace = 'partitions'::regnamespace AND c.relkind = 'r'
    """)
    private = ("trades", "system_events")
    assert all(row["guarded"] for row in rows if row["name"].startswith(private))
    assert not any(role in (row["acl"] or "") for row in rows for role in ("anon", "service", "quantdesk"))


async def test_the_newest_row_is_found_without_reading_the_others(owner: Any) -> None:
    await owner.execute("SET LOCAL enable_seqscan = off")
    found = await plan(
        owner,
        "SELECT * FROM oracle_prices WHERE market_id = $1 ORDER BY created_at DESC LIMIT 1",
        await market_of(owner),
    )
    assert "Sort" not in found
    assert "Append" in found
