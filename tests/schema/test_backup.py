"""A dump is a backup only when it has been restored: every row, every right, and the daemon's work goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.store import schema
from tests.postgres import programs
from tests.schema.support import TIMESCALE, Database, insert, mark, market_of, new_position, new_user

VIEWS = ("candles", "latest_oracle_prices", "order_book")
RESTORE_BEGIN = ("CREATE EXTENSION timescaledb", "SELECT timescaledb_pre_restore()")
RESTORE_END = ("SELECT timescaledb_post_restore()",)


async def _fill(owner: Any) -> None:
    """Rows of every kind, over more than one partition; under the Timescale licence compressed and refreshed."""
    market = await market_of(owner)
    await owner.execute(
        """
        INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)
        SELECT $1, $2::timestamptz + n * interval '10 minutes', n, 100 + n % 7, -8, 'poll', 'accepted'
        FROM generate_series(1, 5000) AS n
        """,
        market,
        datetime.now(UTC) - timedelta(days=40),
    )
    user = await new_user(owner, "one")
    await new_position(owner, user, market)
    await insert(owner, "user_balances", user_id=user, asset="USDC", balance=7)
    await insert(
        owner, "orders", user_id=user, market_id=market, order_type="limit", side="long", size=1, price=1
    )
    await insert(owner, "trades", user_id=user, market_id=market, side="buy", size=1, price=1)
    await insert(owner, "system_events", event_type="daemon.started")
    await owner.execute(
        "INSERT INTO funding_rates (market_id, created_at, funding_rate) VALUES ($1, now(), 0.1)", market
    )
    await mark(owner, market, 101)
    await owner.execute("UPDATE time_series SET retention = '60 days' WHERE table_name = 'oracle_prices'")
    if await owner.fetchval("SELECT schema_mode()") == "timescale":
        for name in ("candles_1m", "candles_1h", "candles_1d"):
            await owner.execute(
                f"CALL refresh_continuous_aggregate('{name}', NULL, now() - interval '1 day')"
            )
        await owner.execute(
            "SELECT compress_chunk(c, true) FROM show_chunks('oracle_prices', older_than => interval '7 days') AS c"
        )


async def _contents(owner: Any) -> dict[str, str]:
    """Rows and checksum of every table, and of the views that are kept beside the rows."""
    names = await owner.fetch("""
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    """)
    found = {}
    for name in (*(row["relname"] for row in names), *VIEWS):
        row = "t.market_id, t.price" if name == "latest_oracle_prices" else "t"
        found[name] = await owner.fetchval(
            f"SELECT count(*) || ' ' || coalesce(md5(string_agg(({row})::text, '|' ORDER BY ({row})::text)), '')"
            f" FROM {name} AS t"
        )
    return found


def _restore(database: Database, name: str, dump: Path) -> None:
    """As docs/howto/backups.md says."""
    hyper = database.server.name in TIMESCALE
    for statement in RESTORE_BEGIN if hyper else ():
        database.server.psql(name, "-c", statement)
    said = database.server.run("pg_restore", name, dump)
    for statement in RESTORE_END if hyper else ():
        database.server.psql(name, "-c", statement)
    assert said == ""


async def test_a_dump_restored_is_the_same_database_and_goes_on(database: Database, tmp_path: Path) -> None:
    if database.server.name not in TIMESCALE and database.server.programs != programs(
        int(database.server.name)
    ):
        pytest.skip(
            "this server came without a pg_restore, and that of a newer version sets what it does not know"
        )
    dump = tmp_path / "quantdesk.dump"
    await _fill(database.owner)
    before, catalogue = await _contents(database.owner), database.server.dump(database.name)
    assert before["oracle_prices"].startswith("5000 ")
    database.server.run("pg_dump", database.name, "-Fc", "--file", dump)
    name = await database.server.create()
    _restore(database, name, dump)
    restored = await asyncpg.connect(database.server.dsn(name))
    try:
        assert await _contents(restored) == before
        assert database.server.dump(name) == catalogue
        await schema.verify(restored)
        assert (await schema.check(restored)).mode == (await schema.check(database.owner)).mode
        await _goes_on(restored)
    finally:
        await restored.close()
        await database.server.drop(name)


async def _goes_on(restored: Any) -> None:
    """New prints move the heads and the candles, rows without a slot get one that was never given, upkeep runs."""
    market = await market_of(restored)
    candles = await restored.fetchval("SELECT sum(n) FROM candles WHERE resolution = '1d'")
    await restored.execute(
        "INSERT INTO oracle_prices (market_id, slot, source, verdict, exponent, price)"
        " VALUES ($1, 9000, 'poll', 'accepted', -8, 55)",
        market,
    )
    await restored.execute(
        "INSERT INTO oracle_prices (market_id, exponent, price) VALUES ($1, -8, 55)", market
    )
    assert (
        await restored.fetchval("SELECT price FROM latest_oracle_prices WHERE market_id = $1", market) == 55
    )
    assert await restored.fetchval("SELECT sum(n) FROM candles WHERE resolution = '1d'") > candles
    busy = [row for row in await restored.fetch("SELECT * FROM upkeep()") if row["action"].startswith("busy")]
    assert busy == []
