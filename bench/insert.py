"""Prints into oracle_prices, its keys and triggers in force: our statement against every other way in.

Batches of 500 one after another on one connection, each in a transaction of its own, a durable server. Conversion from
the daemon's values to the driver's is part of the work of all but psql, whose file stands ready.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from bench.feeds import EXPONENT, FIRST_SLOT, market
from bench.measure import Case, Contender, compared, interleaved
from bench.peers import inserts
from bench.plan import Plan
from bench.processes import cpu_seconds
from bench.servers import (
    DATABASE,
    VERSIONS,
    NamedServer,
    add_markets,
    fetch,
    named_server,
    server,
    server_pid,
)
from quantdesk_oracle.model import PriceUpdate, Source, StoredPrint, Verdict
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.series import insert_oracle_prices
from tests.postgres import PostgresServer, programs

NAME = "insert"
MARKETS = 200
BATCH = 500
LONG_ROWS = 10_000_000
TIMESCALE = "QUANTDESK_TEST_TIMESCALE_URL"
Server = PostgresServer | NamedServer
Way = Callable[[list[StoredPrint]], Awaitable[object]]
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
            cases += asyncio.run(_cases(plan, one, version, "an empty table"))
            if plan.long:
                asyncio.run(fill(one, LONG_ROWS))
                cases += asyncio.run(_cases(plan, one, version, f"{LONG_ROWS:,} rows in it"))
    return cases + _on_hypertables(plan)


def _on_hypertables(plan: Plan) -> list[Case]:
    """On the server with TimescaleDB that the environment names, as the tests do."""
    with named_server(TIMESCALE) as one:
        if one is None:
            return []
        cases = asyncio.run(_cases(plan, one, 15, "hypertables, empty"))
        if plan.long:
            asyncio.run(fill(one, LONG_ROWS))
            cases += asyncio.run(_cases(plan, one, 15, f"hypertables, {LONG_ROWS:,} rows in them"))
        return cases


async def _cases(plan: Plan, one: Server, version: int, state: str) -> list[Case]:
    loop = asyncio.get_running_loop()
    database = Database(one.dsn(DATABASE), pool_size=1, command_timeout=60)
    await database.open()
    connection = await asyncpg.connect(one.dsn(DATABASE))
    try:
        ids = await add_markets(connection, MARKETS)
        await inserts.make_staging(connection)
        rows = max(2_000, round(100_000 * plan.seconds))
        ways: dict[str, Way] = {
            _OURS: lambda batch: insert_oracle_prices(database, ids, batch),
            "executemany (idempotent)": lambda batch: inserts.executemany(connection, ids, batch),
            "COPY + INSERT (idempotent)": lambda batch: inserts.copy_and_insert(connection, ids, batch),
            _COPY: lambda batch: inserts.copy_into_table(connection, ids, batch),
        }
        prints = stream()

        async def write(way: Way, batches: list[list[StoredPrint]]) -> None:
            for batch in batches:
                await way(batch)

        def written(way: Way, batches: list[list[StoredPrint]]) -> None:
            _wait(loop, write(way, batches))

        def batches() -> list[list[StoredPrint]]:
            return [list(itertools.islice(prints, BATCH)) for _ in range(rows // BATCH)]

        meters = {name: Meter(one, rows, batches, partial(written, way)) for name, way in ways.items()}
        meters[r"psql \copy, one file"] = _psql(one, version, ids, prints, rows)
        contenders = [Contender(name, meter.round) for name, meter in meters.items()]
        figures = await asyncio.to_thread(interleaved, contenders, plan.rounds)
        assert await _duplicates(one) == 0
    finally:
        await connection.close()
        await database.close()
    cost = {name: meter.cpu[1:] for name, meter in meters.items()}  # the warm-up's is not counted
    title = f"PostgreSQL {version}, {state}"
    return [
        compared(NAME, title, "rows a second", figures, lower_is_better=False, target=(_COPY, 0.85)),
        compared(NAME, f"{title}: CPU of client and server", "µs a row", cost),
    ]


async def _duplicates(one: Server) -> int:
    """How many prints stand in the table more than once."""
    query = (
        "SELECT count(*) - count(DISTINCT (market_id, created_at, slot)) FROM oracle_prices WHERE slot >= $1"
    )
    rows = await fetch(one.dsn(DATABASE), query, FIRST_SLOT)
    return int(rows[0][0])


class Meter:
    """Rows a second of ``work``, and in ``cpu`` the µs of CPU a row that it took: here, in children, in the server."""

    def __init__(
        self, one: Server, rows: int, prepare: Callable[[], Any], work: Callable[[Any], None]
    ) -> None:
        self._server = server_pid(one)
        self._rows = rows
        self._prepare = prepare
        self._work = work
        self.cpu: list[float] = []

    def round(self) -> float:
        """Prepare a round's rows unseen, then write them."""
        material = self._prepare()
        spent, started = self._spent(), time.perf_counter()
        self._work(material)
        took = time.perf_counter() - started
        self.cpu.append((self._spent() - spent) / self._rows * 1e6)
        return self._rows / took

    def _spent(self) -> float:
        used = os.times()
        here = used.user + used.system + used.children_user + used.children_system
        return here + cpu_seconds(self._server, with_children=True)


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(work, loop).result()


def _psql(one: Server, version: int, ids: dict[str, UUID], prints: Iterator[StoredPrint], rows: int) -> Meter:
    folder = programs(version)
    assert folder is not None

    def file() -> str:
        return inserts.csv_of(ids, itertools.islice(prints, rows))

    def copy(text: str) -> None:
        inserts.psql_copy(folder / "psql", one.dsn(DATABASE), text)

    return Meter(one, rows, file, copy)


def stream(markets: int = MARKETS) -> Iterator[StoredPrint]:
    """Prints without end, one of the first ``markets`` after the other, four rounds a second, up to now."""
    start = int(time.time()) - 3_000
    for number in itertools.count():
        sweep, index = divmod(number, markets)
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


async def fill(one: Server, rows: int) -> None:
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
