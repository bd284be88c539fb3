"""What is TimescaleDB's own: hypertables, continuous aggregates, compression, under either licence."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from quantdesk_oracle.store import schema
from tests.schema.support import HYPER, Database, market_of, servers_named

server = servers_named(*HYPER)


async def _prints(owner: Any, first: datetime, count: int, seconds: int) -> None:
    await owner.execute(
        """
        INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)
        SELECT $1, $2::timestamptz + n * make_interval(secs => $4), n, 100 + hashtext(n::text) % 50, -8, 'poll',
               (ARRAY['accepted', 'wide', 'quarantined'])[1 + n % 3]::oracle_verdict
        FROM generate_series(1, $3::int) AS n
        """,
        await market_of(owner),
        first,
        count,
        seconds,
    )


async def test_every_series_is_a_hypertable(empty: Database) -> None:
    found = await schema.apply(empty.owner)
    assert found.mode == empty.server.name
    kinds = {table.name: table.kind for table in found.tables}
    series = await empty.owner.fetch("SELECT table_name FROM time_series")
    assert {kinds[row[0]] for row in series} == {"hypertable"}


async def test_candles_are_the_same_rows_late_prints_included(empty: Database) -> None:
    found = await schema.apply(empty.owner)
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=3)
    await _prints(empty.owner, first, 3000, 60)
    await _refresh(empty.owner, found.mode)
    await _prints(empty.owner, first + timedelta(seconds=30), 500, 90)
    await _refresh(empty.owner, found.mode)
    for resolution, width in (("1m", "1 minute"), ("1h", "1 hour"), ("1d", "1 day")):
        wrong = await empty.owner.fetchval(
            f"""
            WITH expected AS (
                SELECT date_bin('{width}', created_at, '2000-01-01Z') AS bucket,
                       (array_agg(price ORDER BY created_at, slot))[1] AS open, max(price) AS high, min(price) AS low,
                       (array_agg(price ORDER BY created_at DESC, slot DESC))[1] AS close, count(*) AS n
                FROM oracle_prices WHERE verdict <> 'quarantined' GROUP BY 1)
            SELECT count(*) FROM expected FULL JOIN
                (SELECT * FROM candles WHERE resolution = $1) AS c USING (bucket, open, high, low, close, n)
            WHERE expected IS NULL OR c IS NULL
            """,
            resolution,
        )
        assert wrong == 0


async def _refresh(owner: Any, mode: str) -> None:
    if mode == "timescale":
        for name in ("candles_1m", "candles_1h", "candles_1d"):
            with suppress(asyncpg.ObjectInUseError):
                await owner.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, NULL)")


async def test_upkeep_drops_chunks_beyond_retention(empty: Database) -> None:
    await schema.apply(empty.owner)
    # The extension's own retention job would drop them first, now and then.
    await empty.owner.execute("SELECT _timescaledb_functions.stop_background_workers()")
    for days in (200, 120, 5):
        await _prints(empty.owner, datetime.now(UTC) - timedelta(days=days), 3, 1)
    done = await empty.owner.fetch("SELECT * FROM upkeep()")
    assert [(row["table_name"], row["action"]) for row in done] == [("oracle_prices", "dropped")]
    assert await empty.owner.fetchval("SELECT count(*) FROM oracle_prices") == 3


async def test_public_series_compress_and_private_ones_have_row_security(empty: Database) -> None:
    found = await schema.apply(empty.owner)
    rows = await empty.owner.fetch("""
        SELECT s.table_name, s.private, c.relrowsecurity AS guarded
        FROM time_series AS s JOIN pg_class AS c ON c.oid = to_regclass('public.' || s.table_name)
    """)
    assert all(row["private"] == row["guarded"] for row in rows)
    if found.mode != "timescale":
        return
    await _prints(empty.owner, datetime.now(UTC) - timedelta(days=30), 2000, 60)
    before = await empty.owner.fetchval(
        "SELECT md5(string_agg(o::text, '|' ORDER BY slot)) FROM oracle_prices AS o"
    )
    compressed = await empty.owner.fetch(
        "SELECT compress_chunk(c, true) FROM show_chunks('oracle_prices') AS c"
    )
    assert compressed
    after = await empty.owner.fetchval(
        "SELECT md5(string_agg(o::text, '|' ORDER BY slot)) FROM oracle_prices AS o"
    )
    assert before == after
    await empty.owner.execute("ANALYZE oracle_prices")
    status = next(each for each in (await schema.status(empty.owner)).tables if each.name == "oracle_prices")
    assert status.size == await empty.owner.fetchval("SELECT hypertable_size('oracle_prices')")
    chunks = "SELECT sum(pg_total_relation_size(c)) FROM show_chunks('oracle_prices') AS c"
    assert status.size > await empty.owner.fetchval(chunks)
    assert status.rows >= 2000
    await _prints(empty.owner, datetime.now(UTC) - timedelta(days=30, seconds=-7), 10, 60)
    assert await empty.owner.fetchval("SELECT count(*) FROM oracle_prices") == 2010
