"""The same schema on TimescaleDB, under whichever licence the server named by QUANTDESK_TEST_TIMESCALE_URL runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.store import schema
from tests.schema.support import DEBIAN_15, FIXTURES, SCHEMA, Database, Server, market_of

pytestmark = pytest.mark.timescale
URL = os.environ.get("QUANTDESK_TEST_TIMESCALE_URL")


@pytest.fixture
async def hyper() -> AsyncIterator[Database]:
    """An empty database on that server, as a superuser."""
    if URL is None:
        pytest.skip(
            "QUANTDESK_TEST_TIMESCALE_URL names no TimescaleDB server (a superuser's URL of its postgres database)"
        )
    server = Server("timescale", URL, DEBIAN_15)
    name = await server.create()
    owner = await asyncpg.connect(server.dsn(name))
    yield Database(server, name, owner)
    await owner.close()
    await server.drop(name)


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


async def test_it_installs_twice_and_verifies(hyper: Database) -> None:
    for _ in range(2):
        done = hyper.server.psql(hyper.name, "-f", SCHEMA / "production-schema.sql")
        assert (done.stdout, done.stderr) == ("", "")
    hyper.server.psql(hyper.name, "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "test-schema.sql")
    found = await schema.check(hyper.owner)
    assert found.mode == await hyper.owner.fetchval("SELECT schema_mode()") != "plain"
    kinds = {table.name: table.kind for table in found.tables}
    series = await hyper.owner.fetch("SELECT table_name FROM time_series")
    assert {kinds[row[0]] for row in series} == {"hypertable"}


@pytest.mark.parametrize("generation", ["a", "b"])
async def test_earlier_generations_are_migrated(hyper: Database, generation: str) -> None:
    hyper.server.psql(hyper.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / f"generation_{generation}.sql")
    done = await schema.migrate(hyper.owner)
    assert sum(table.before for table in done.tables) > 15_000
    again = await schema.migrate(hyper.owner)
    assert again.tables == ()
    await schema.verify(hyper.owner)
    before = await hyper.owner.fetchval("SELECT count(*) FROM oracle_prices")
    await hyper.owner.execute("SELECT upkeep()")
    assert await hyper.owner.fetchval("SELECT count(*) FROM oracle_prices") == before


async def test_candles_are_the_same_rows_late_prints_included(hyper: Database) -> None:
    found = await schema.apply(hyper.owner)
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=3)
    await _prints(hyper.owner, first, 3000, 60)
    await _refresh(hyper.owner, found.mode)
    await _prints(hyper.owner, first + timedelta(seconds=30), 500, 90)
    await _refresh(hyper.owner, found.mode)
    for resolution, width in (("1m", "1 minute"), ("1h", "1 hour"), ("1d", "1 day")):
        wrong = await hyper.owner.fetchval(
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


async def test_upkeep_drops_chunks_beyond_retention(hyper: Database) -> None:
    await schema.apply(hyper.owner)
    for days in (200, 120, 5):
        await _prints(hyper.owner, datetime.now(UTC) - timedelta(days=days), 3, 1)
    done = await hyper.owner.fetch("SELECT * FROM upkeep()")
    assert [(row["table_name"], row["action"]) for row in done] == [("oracle_prices", "dropped")]
    assert await hyper.owner.fetchval("SELECT count(*) FROM oracle_prices") == 3


async def test_public_series_compress_and_private_ones_have_row_security(hyper: Database) -> None:
    found = await schema.apply(hyper.owner)
    rows = await hyper.owner.fetch("""
        SELECT s.table_name, s.private, c.relrowsecurity AS guarded
        FROM time_series AS s JOIN pg_class AS c ON c.oid = to_regclass('public.' || s.table_name)
    """)
    assert all(row["private"] == row["guarded"] for row in rows)
    if found.mode != "timescale":
        return
    await _prints(hyper.owner, datetime.now(UTC) - timedelta(days=30), 2000, 60)
    before = await hyper.owner.fetchval(
        "SELECT md5(string_agg(o::text, '|' ORDER BY slot)) FROM oracle_prices AS o"
    )
    compressed = await hyper.owner.fetch("SELECT compress_chunk(c) FROM show_chunks('oracle_prices') AS c")
    assert compressed
    after = await hyper.owner.fetchval(
        "SELECT md5(string_agg(o::text, '|' ORDER BY slot)) FROM oracle_prices AS o"
    )
    assert before == after
    await _prints(hyper.owner, datetime.now(UTC) - timedelta(days=30, seconds=-7), 10, 60)
    assert await hyper.owner.fetchval("SELECT count(*) FROM oracle_prices") == 2010
