"""Candles of the rollup: the same at every moment, whatever has been folded and whatever comes late."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.store import schema
from tests.schema.support import PLAIN, Database, market_of, servers_named

server = servers_named(*PLAIN, "apache")

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)
WRONG = """
    WITH prints AS (
        SELECT market_id, date_bin($2, created_at, '2000-01-01Z') AS bucket, source <> 'external' AS own, price,
               created_at, slot
        FROM oracle_prices WHERE verdict IS DISTINCT FROM 'quarantined'),
    expected AS (
        SELECT market_id, bucket, (array_agg(price ORDER BY created_at, slot))[1] AS open, max(price) AS high,
               min(price) AS low, (array_agg(price ORDER BY created_at DESC, slot DESC))[1] AS close, count(*) AS n
        FROM prints AS p
        WHERE own OR NOT EXISTS (SELECT FROM prints AS o
                                 WHERE o.market_id = p.market_id AND o.bucket = p.bucket AND o.own)
        GROUP BY 1, 2)
    SELECT count(*) FROM expected FULL JOIN
        (SELECT * FROM candles WHERE resolution = $1) AS c USING (market_id, bucket, open, high, low, close, n)
    WHERE expected IS NULL OR c IS NULL
"""
STORED = """
    SELECT bool_and(bucket + width <= (SELECT folded_until FROM candle_progress))
    FROM candle_rollups JOIN candle_widths() USING (resolution) WHERE resolution <> '1m'
"""


async def _print(
    connection: Any,
    instant: datetime,
    slot: int,
    price: int,
    source: str = "poll",
    verdict: str | None = "accepted",
) -> None:
    await connection.execute(
        "INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)"
        " VALUES ($1, $2, $3, $4, -8, $5, $6)",
        await market_of(connection),
        instant,
        slot,
        price,
        source,
        verdict,
    )  # fmt: skip


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Any]:
    """A connection beside the owner's."""
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def _exact(owner: Any) -> None:
    await owner.execute("SET jit = off")  # PostgreSQL 15 would compile the query below for more than a second
    for resolution, width in (("1m", timedelta(minutes=1)), ("1h", HOUR), ("1d", 24 * HOUR)):
        assert await owner.fetchval(WRONG, resolution, width) == 0, resolution
    assert await owner.fetchval(STORED) is not False


@pytest.mark.parametrize("seed", range(4))
async def test_they_are_exact_between_any_two_foldings(owner: Any, seed: int) -> None:
    chance = random.Random(seed)
    until, slot = NOW, 0
    for _ in range(12):
        for _ in range(12):
            slot += 1
            instant = until + timedelta(seconds=chance.randrange(-40 * 3_600, 3 * 3_600))
            own = chance.random() < 0.7
            verdict = chance.choice(("accepted", "wide", "quarantined")) if own else None
            await _print(
                owner, instant, slot, chance.randrange(90, 110), "poll" if own else "external", verdict
            )
        if chance.random() < 0.5:
            await owner.execute("UPDATE oracle_prices SET price = price + 7 WHERE slot = $1", slot - 3)
            await owner.execute("DELETE FROM oracle_prices WHERE slot = $1", slot - 5)
        await _exact(owner)
        until += timedelta(minutes=chance.randrange(10, 400))
        await owner.fetchval("SELECT fold_candles($1)", until)
        await _exact(owner)


async def test_what_has_been_folded_is_folded_once(owner: Any) -> None:
    await _print(owner, NOW + timedelta(minutes=5), 1, 100)
    await _print(owner, NOW + timedelta(minutes=65), 2, 110)
    assert await owner.fetchval("SELECT fold_candles($1)", NOW + timedelta(minutes=90)) >= 1
    assert await owner.fetchval("SELECT fold_candles($1)", NOW + timedelta(minutes=119)) == 0
    assert await owner.fetchval("SELECT fold_candles($1)", NOW) == 0  # a clock that was set back
    await _exact(owner)


async def test_a_writer_under_way_is_waited_for_and_missed_by_no_hour(
    database: Database, writer: Any
) -> None:
    owner = database.owner
    transaction = writer.transaction()
    await transaction.start()
    await _print(writer, NOW + timedelta(minutes=5), 1, 100)
    folding = "SELECT action FROM upkeep_at($1) WHERE table_name = 'candle_rollups'"
    assert "busy" in await owner.fetchval(folding, NOW + 2 * HOUR)
    await transaction.commit()
    assert await owner.fetchval(folding, NOW + 2 * HOUR) == "folded"
    await _exact(owner)
    assert await owner.fetchval("SELECT n FROM candle_rollups WHERE resolution = '1h'") == 1


async def test_a_snapshot_from_before_a_folding_is_told_to_begin_anew(
    database: Database, writer: Any
) -> None:
    owner = database.owner
    transaction = writer.transaction(isolation="repeatable_read")
    await transaction.start()
    await writer.fetchval("SELECT count(*) FROM markets")
    await owner.fetchval("SELECT fold_candles($1)", NOW + 2 * HOUR)
    with pytest.raises(asyncpg.SerializationError):
        await _print(writer, NOW + timedelta(minutes=5), 1, 100)
    await transaction.rollback()
    await _print(writer, NOW + timedelta(minutes=5), 1, 100)
    await _exact(owner)


async def test_without_its_progress_no_print_is_refused(owner: Any) -> None:
    await owner.execute("DELETE FROM candle_progress")
    await _print(owner, NOW + timedelta(minutes=5), 1, 100)
    await owner.execute("UPDATE oracle_prices SET price = 101")
    assert await owner.fetchval("SELECT close FROM candles WHERE resolution = '1m'") == 101
    await schema.apply(owner)
    await _exact(owner)


async def test_candles_that_were_kept_to_their_last_print_are_taken_over(owner: Any) -> None:
    """As an older schema has left them, with hours and days that have not ended."""
    for minutes in (-180, -1, 5, 65):
        await _print(owner, NOW + timedelta(minutes=minutes), minutes + 1_000, 500 + minutes)
    await owner.execute("DELETE FROM candle_rollups; DROP TABLE candle_progress CASCADE")
    await owner.execute("""
        INSERT INTO candle_rollups
        SELECT market_id, w.resolution, date_bin(w.width, created_at, '2000-01-01Z') AS bucket, true,
               (array_agg(price ORDER BY created_at))[1], max(price), min(price),
               (array_agg(price ORDER BY created_at DESC))[1], count(*),
               min(created_at), min(slot), max(created_at), max(slot)
        FROM oracle_prices CROSS JOIN candle_widths() AS w GROUP BY 1, 2, 3
    """)
    await schema.apply(owner)
    await _exact(owner)
    await owner.fetchval("SELECT fold_candles($1)", NOW + 48 * HOUR)
    await _exact(owner)
