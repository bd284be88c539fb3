"""Prints into oracle_prices, its keys and triggers in force: our statement against every other way in.

Batches of 500 one after another on one connection, each in a transaction of its own, a durable server. Conversion from
the daemon's values to the driver's is part of the work of all but psql, whose file stands ready.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.feeds import EXPONENT, FIRST_SLOT, market
from bench.measure import Case, Contender, Round, compared, interleaved
from bench.peers import inserts
from bench.plan import Plan
from bench.servers import DATABASE, VERSIONS, add_markets, fetch, server
from quantdesk_oracle.model import PriceUpdate, Source, StoredPrint, Verdict
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.series import insert_oracle_prices
from tests.postgres import PostgresServer, programs

NAME = "insert"
MARKETS = 200
BATCH = 500
LONG_ROWS = 10_000_000
_OURS, _COPY = "quantdesk-oracle (idempotent)", "COPY into the table"
_FILL = """
    INSERT INTO oracle_prices (market_id, created_at, slot, received_at, source, verdict, exponent,
                               price, confidence, ema_price, ema_confidence)
    SELECT m.id, to_timestamp($1 - (n / $3)), n, now(), 'subscription', 'accepted', -8,
           100 + n % 1000 * 0.00000001, 0.03, 100, 0.04
    FROM generate_series($2::bigint, $2 + 499999) AS n
    JOIN (SELECT id, row_number() OVER (ORDER BY symbol) - 1 AS number, count(*) OVER () AS total FROM markets) AS m
         ON m.number = n % m.total
"""


def run(plan: Plan) -> list[Case]:
    """Every version of PostgreSQL that is here; with ``plan.long`` also on ten million rows."""
    cases = []
    for version in VERSIONS:
        with server(version) as one:
            if one is None:
                continue
            cases.append(asyncio.run(_case(plan, one, version, "an empty table")))
            if plan.long:
                asyncio.run(fill(one, LONG_ROWS))
                cases.append(asyncio.run(_case(plan, one, version, f"{LONG_ROWS:,} rows in it")))
    return cases


async def _case(plan: Plan, one: PostgresServer, version: int, state: str) -> Case:
    loop = asyncio.get_running_loop()
    database = Database(one.dsn(DATABASE), pool_size=1, command_timeout=60)
    await database.open()
    connection = await asyncpg.connect(one.dsn(DATABASE))
    try:
        ids = await add_markets(connection, MARKETS)
        await inserts.make_staging(connection)
        rows = max(2_000, round(100_000 * plan.seconds))
        ways: dict[str, Callable[[list[StoredPrint]], Awaitable[object]]] = {
            _OURS: lambda batch: insert_oracle_prices(database, ids, batch),
            "executemany (idempotent)": lambda batch: inserts.executemany(connection, ids, batch),
            "COPY + INSERT (idempotent)": lambda batch: inserts.copy_and_insert(connection, ids, batch),
            _COPY: lambda batch: inserts.copy_into_table(connection, ids, batch),
        }
        prints = stream()
        contenders = [Contender(name, _round(loop, way, prints, rows)) for name, way in ways.items()]
        contenders.append(Contender(r"psql \copy, one file", _psql_round(one, version, ids, prints, rows)))
        figures = await asyncio.to_thread(interleaved, contenders, plan.rounds)
        duplicates = await fetch(
            one.dsn(DATABASE),
            "SELECT count(*) - count(DISTINCT (market_id, slot)) FROM oracle_prices WHERE slot >= $1",
            FIRST_SLOT,
        )
        assert duplicates[0][0] == 0
    finally:
        await connection.close()
        await database.close()
    return compared(
        NAME, f"PostgreSQL {version}, {state}", "rows a second", figures, lower_is_better=False, target=(_COPY, 0.85)
    )  # fmt: skip


def _round(
    loop: asyncio.AbstractEventLoop,
    way: Callable[[list[StoredPrint]], Awaitable[object]],
    prints: Iterator[StoredPrint],
    rows: int,
) -> Round:
    async def write(batches: list[list[StoredPrint]]) -> float:
        started = time.perf_counter()
        for batch in batches:
            await way(batch)
        return rows / (time.perf_counter() - started)

    def measured() -> float:
        batches = [list(itertools.islice(prints, BATCH)) for _ in range(rows // BATCH)]
        return asyncio.run_coroutine_threadsafe(write(batches), loop).result()

    return measured


def _psql_round(
    one: PostgresServer, version: int, ids: dict[str, UUID], prints: Iterator[StoredPrint], rows: int
) -> Round:
    folder = programs(version)
    assert folder is not None

    def measured() -> float:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "prints.csv"
            file.write_text(inserts.csv_of(ids, itertools.islice(prints, rows)), "utf-8")
            started = time.perf_counter()
            inserts.psql_copy(folder / "psql", one.dsn(DATABASE), file)
            return rows / (time.perf_counter() - started)

    return measured


def stream() -> Iterator[StoredPrint]:
    """Prints without end, one market after the other, four rounds a second, up to now."""
    start = int(time.time()) - 3_000
    for number in itertools.count():
        sweep, index = divmod(number, MARKETS)
        price, published = 10**10 + number % 99_991, start + sweep // 4 % 3_000
        update = PriceUpdate(
            bytes(32),
            price,
            price // 3_000,
            EXPONENT,
            published,
            published - 1,
            10**10,
            4 * 10**6,
            FIRST_SLOT + number,
        )
        yield StoredPrint(
            market(index), update, Verdict.ACCEPTED, Source.SUBSCRIPTION, published * 1_000_000 + 400_000
        )


async def fill(one: PostgresServer, rows: int) -> None:
    """So many old prints, four a second and market up to an hour ago, as months of running would have left them."""
    connection = await asyncpg.connect(one.dsn(DATABASE))
    try:
        ids = await add_markets(connection, MARKETS)
        await connection.execute("ALTER TABLE oracle_prices DISABLE TRIGGER USER")
        end = int(time.time()) - 3_600
        for first in range(0, rows, 500_000):
            await connection.execute(_FILL, end, first, 4 * len(ids), timeout=600)
        await connection.execute("ALTER TABLE oracle_prices ENABLE TRIGGER USER")
        await connection.execute("VACUUM ANALYZE oracle_prices", timeout=600)
    finally:
        await connection.close()
