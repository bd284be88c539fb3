"""Databases of a bench's choices, alike but for one thing: the schema, some markets, four weeks of prices."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from bench.insert import BATCH, Server, stream
from bench.schema_plans import measure
from bench.servers import add_markets
from quantdesk_oracle.store import schema
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.series import insert_oracle_prices
from tests.postgres import execute

DAYS = 28
_FILL = """
    INSERT INTO oracle_prices (market_id, created_at, slot, received_at, source, verdict, exponent,
                               price, confidence, ema_price, ema_confidence)
    SELECT id, at, 400000000 + extract(epoch FROM at - now())::bigint * 5 / 2,
           at + (0.4 + random() / 2) * interval '1 s',
           (CASE WHEN random() < 0.97 THEN 'subscription' ELSE 'poll' END)::oracle_source, 'accepted', -8,
           round(walk, 8), round(walk * (3 + random())::numeric / 10000, 8),
           round(avg(walk) OVER hour, 8), round(avg(walk) OVER hour * 3 / 10000, 8)
    FROM (SELECT m.id, date_trunc('second', now()) - n * $1::int * interval '1 s' AS at,
                 (1000 * exp(sum((random() - 0.5) / 1000) OVER (PARTITION BY m.id ORDER BY n)))::numeric AS walk
          FROM generate_series(1, $2::int) AS n CROSS JOIN markets AS m
          WHERE m.symbol LIKE 'F%') AS walks
    WINDOW hour AS (PARTITION BY id ORDER BY at ROWS 75 PRECEDING)
    ORDER BY at
"""
_CUT = """
    DO $$
    DECLARE
        series time_series;
        leaf text;
    BEGIN
        UPDATE time_series SET chunk_interval = '{interval}', retention = '{days} days'
        WHERE table_name = 'oracle_prices' RETURNING * INTO series;
        IF schema_mode() <> 'plain' THEN
            PERFORM set_chunk_time_interval('oracle_prices', series.chunk_interval);
            RETURN;
        END IF;
        FOR leaf IN SELECT name FROM series_partitions('oracle_prices') LOOP
            EXECUTE format('DROP TABLE partitions.%I', leaf);
        END LOOP;
        PERFORM found_partitions(series, now()), split_future(series, now());
    END $$
"""


class Place:
    """One choice's database."""

    def __init__(self, one: Server, name: str) -> None:
        self.one = one
        self._name = "bench_" + "".join(letter if letter.isalnum() else "_" for letter in name)
        self.dsn = one.dsn(self._name)
        self.database = Database(self.dsn, pool_size=1, command_timeout=60)
        self._ids: dict[str, UUID] = {}

    async def open(self, markets: int) -> None:
        """Make it."""
        drop = f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)"
        await execute(self.one.dsn(), drop, f"CREATE DATABASE {self._name} TEMPLATE template0")
        self.connection = await asyncpg.connect(self.dsn, command_timeout=3_600)
        if (
            await schema.apply(self.connection)
        ).mode == "timescale":  # none of its jobs beside what is measured
            await self.connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
        self._ids = await add_markets(self.connection, markets)
        self._prints = stream(markets)
        await self.database.open()

    async def close(self) -> None:
        """Drop it."""
        await self.database.close()
        await self.connection.close()
        await execute(self.one.dsn(), f"DROP DATABASE {self._name} WITH (FORCE)")

    async def fill(self, rows: int, interval: str) -> None:
        """Cut the series by ``interval``, and store so many rows of its markets over four weeks; no trigger fires.

        Prices walk at random, in the order in which a daemon would have stored them.
        """
        every = DAYS * 86_400 * len(self._ids) // rows
        await self.connection.execute(_CUT.format(interval=interval, days=DAYS))
        await self.connection.execute("SET session_replication_role = replica")
        await self.connection.execute(_FILL, every, rows // len(self._ids))
        await self.connection.execute("SET session_replication_role = origin")
        await self.connection.execute("VACUUM ANALYZE oracle_prices")

    async def insert(self, rows: int) -> float:
        """Store live prints as the daemon does, in batches of 500; rows a second."""
        batches = [list(itertools.islice(self._prints, BATCH)) for _ in range(rows // BATCH)]
        started = time.perf_counter()
        for batch in batches:
            await insert_oracle_prices(self.database, self._ids, batch)
        return rows / (time.perf_counter() - started)

    async def read(self, condition: str) -> float:
        """Milliseconds that prices of a market take to plan and to read, warm; ``{market}`` is its key."""
        market = self._ids[min(self._ids)]
        statement = f"SELECT * FROM oracle_prices WHERE {condition.format(market=market)}"
        found = await measure(self.connection, statement)
        return found.planning + found.execution


Preparation = Callable[[Place], Coroutine[Any, Any, None]]


@contextmanager
def places(
    runner: asyncio.Runner, one: Server, markets: int, preparations: Mapping[str, Preparation]
) -> Iterator[dict[str, Place]]:
    """A database for each choice, made ready in its own way."""
    found = {name: Place(one, name) for name in preparations}
    with ExitStack() as stack:
        for name, place in found.items():
            runner.run(place.open(markets))
            stack.callback(partial(_close, runner, place))
            runner.run(preparations[name](place))
        yield found


def _close(runner: asyncio.Runner, place: Place) -> None:
    runner.run(place.close())
