"""What prices take on disk, and how their tables are best cut: the schema's choices against others.

On partitions (PostgreSQL 18), and on hypertables where the environment names a server. Four weeks of twenty markets, by
default a print of each every 48 seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from bench.insert import TIMESCALE, Server
from bench.measure import Case, Contender, compared, interleaved
from bench.places import Place, places
from bench.plan import Plan
from bench.processes import cpu_seconds
from bench.schema_plans import bytes_a_row, compressed_bytes_a_row
from bench.servers import named_server, server, server_pid

NAME = "storage"
MARKETS, FEEDS = 20, 2_000
BUSY, MOVES = 200, 100
FILLFACTORS = (50, 100, 85, 70, 25)
INTERVALS = ("7 days", "1 day", "6 hours", "1 hour")
ORDERS = {
    "by market, newest first": ("market_id", "created_at DESC, slot DESC"),
    "by market, oldest first": ("market_id", "created_at, slot"),
    "by market and source, newest first": ("market_id, source", "created_at DESC, slot DESC"),
    "in one, by market, newest first": ("", "market_id, created_at DESC, slot DESC"),
    "in one, newest first": ("", "created_at DESC, slot DESC"),
}
"""Segments and order of compressed chunks. Of all choices the schema's stands first."""
_CANDLES = "the candles"
GUARANTEES = {
    "the newest prices": "ALTER TABLE oracle_prices DISABLE TRIGGER oracle_prices_heads",
    _CANDLES: "ALTER TABLE oracle_prices DISABLE TRIGGER oracle_prices_candles",
    "the reference to markets": "ALTER TABLE oracle_prices DROP CONSTRAINT oracle_prices_market_id_fkey",
}
"""What goes beyond a row and its key, and how to do without; with the Timescale licence candles are made afterwards."""
_NEWEST, _HOUR = "newest price of a market", "a market's newest hour"
_OLD, _DAY = "newest price of a market ten days ago", "a market's day, ten days ago"
READS = {
    _NEWEST: "market_id = '{market}' ORDER BY created_at DESC LIMIT 1",
    _HOUR: "market_id = '{market}' AND created_at >= now() - interval '1 hour'",
    _OLD: "market_id = '{market}' AND created_at < now() - interval '10 days' ORDER BY created_at DESC LIMIT 1",
    _DAY: "market_id = '{market}' AND created_at >= now() - interval '10 days'"
    " AND created_at < now() - interval '9 days'",
}
"""What is read of oracle_prices itself; who wants the newest price of all asks oracle_price_heads."""
_COMPRESS = """
    ALTER TABLE oracle_prices SET (timescaledb.compress, timescaledb.compress_segmentby = '{}',
                                   timescaledb.compress_orderby = '{}')
"""
_HEADS = """
    SELECT 100.0 * n_tup_hot_upd / n_tup_upd AS share, pg_total_relation_size(relid) / 1024 AS size
    FROM pg_stat_user_tables WHERE relname = 'oracle_price_heads'
"""
_PARTS = """
    SELECT sum(pg_relation_size(relid)) AS rows, sum(pg_indexes_size(relid)) AS keys,
           (SELECT count(*) FROM oracle_prices) AS count
    FROM pg_partition_tree('oracle_prices') WHERE isleaf
"""
Way = Callable[[Place], Coroutine[Any, Any, float]]
Choices = Mapping[str, Place]


def run(plan: Plan) -> list[Case]:
    """Fillfactor of the heads, interval of the series, order of what is compressed."""
    cases: list[Case] = []
    with asyncio.Runner() as runner:
        with server(18) as plain:
            if plain is not None:
                study = Study(plan, runner, plain)
                cases += [
                    *study.fillfactors(),
                    study.guarantees("partitions"),
                    study.open_transaction("partitions"),
                    *study.intervals("partitions"),
                ]
        with named_server(TIMESCALE) as timescale:
            if timescale is not None:
                study = Study(plan, runner, timescale)
                cases += [
                    study.guarantees("hypertables"),
                    study.open_transaction("hypertables"),
                    *study.intervals("hypertables"),
                    *study.orders(),
                ]
    return cases


@dataclass(frozen=True, slots=True)
class Study:
    """Choices compared on one server."""

    plan: Plan
    runner: asyncio.Runner
    one: Server

    @property
    def rows(self) -> int:
        """Of the four weeks."""
        return 1_000_000 if self.plan.rounds > 3 else 100_000

    def fillfactors(self) -> list[Case]:
        """Every print moves its market's row in oracle_price_heads: whether within its page, and what that costs."""
        rows = round(400_000 * self.plan.seconds)
        with places(self.runner, self.one, FEEDS, {"heads": _empty}) as found:
            meters = {f"fillfactor {each}": _Heads(found["heads"], each, rows) for each in FILLFACTORS}
            contenders = [Contender(name, partial(self._round, meter)) for name, meter in meters.items()]
            cost = interleaved(contenders, max(3, self.plan.rounds // 2))
            parts = self.runner.run(_parts(found["heads"]))
        title = f"oracle_price_heads, {FEEDS:,} markets, {rows:,} prints"
        in_page = {name: meter.in_page[1:] for name, meter in meters.items()}  # without the warm-up
        size = {name: meter.size[1:] for name, meter in meters.items()}
        return [
            compared(NAME, f"{title}: CPU of the server", "µs a row", cost),
            compared(NAME, f"{title}: updates within a page", "%", in_page, lower_is_better=False),
            compared(NAME, f"{title}: size with its index then", "kB", size),
            compared(
                NAME, f"oracle_prices, {FEEDS:,} markets, in the order of arrival", "bytes a row", parts
            ),
        ]

    def guarantees(self, mode: str) -> Case:
        """What each thing that the table does for a print costs the server."""
        names = [name for name in GUARANTEES if mode == "partitions" or name != _CANDLES]
        preparations = {"all": _empty}
        preparations |= {f"without {name}": partial(_without, [name]) for name in names}
        preparations["without any"] = partial(_without, names)
        rows = round(200_000 * self.plan.seconds)
        title = f"{mode}, {FEEDS:,} markets, {rows:,} prints: CPU of the server"
        with places(self.runner, self.one, FEEDS, preparations) as found:
            return self._timed(title, "µs a row", found, partial(_cpu_of_inserts, rows=rows))

    def open_transaction(self, mode: str) -> Case:
        """What a print costs while a transaction stays open, a backup's say: no old version of a row can go then.

        A print moves its market's head, and on partitions its candles.
        """
        with places(self.runner, self.one, BUSY, {"busy": _empty}) as found:
            costs = self.runner.run(_held(found["busy"]))
        title = f"{mode}, {BUSY} markets, while a transaction stays open: CPU of the server"
        return compared(NAME, title, "µs a row", costs)

    def intervals(self, mode: str) -> list[Case]:
        """How long a partition or chunk should be."""
        preparations = {each: partial(Place.fill, rows=self.rows, interval=each) for each in INTERVALS}
        title = f"{mode} of so much, {self.rows:,} rows of four weeks"
        with places(self.runner, self.one, MARKETS, preparations) as found:
            insert = partial(Place.insert, rows=round(50_000 * self.plan.seconds))
            cases = [
                self._sized(f"{title}: with their keys", found, _size),
                *self._reads(title, found, [_NEWEST, _HOUR, _OLD, _DAY]),
                self._timed(f"{title}: inserts", "rows a second", found, insert, lower_is_better=False),
            ]
            if mode == "hypertables":
                cases.append(self._sized(f"{title}: compressed", found, _compressed_size))
                cases += self._reads(f"{title}, compressed", found, [_OLD, _DAY])
        return cases

    def orders(self) -> list[Case]:
        """In which segments and which order compressed chunks should lie."""
        size: dict[str, list[float]] = {}
        took: dict[str, list[float]] = {}

        async def prepare(name: str, place: Place) -> None:
            await place.fill(self.rows, INTERVALS[0])
            await place.connection.execute(_COMPRESS.format(*ORDERS[name]))
            started = time.perf_counter()
            size[name] = [await compressed_bytes_a_row(place.connection)]
            took[name] = [time.perf_counter() - started]
            await place.connection.execute("VACUUM ANALYZE oracle_prices")

        title = f"compressed, {self.rows:,} rows of four weeks"
        with places(
            self.runner, self.one, MARKETS, {name: partial(prepare, name) for name in ORDERS}
        ) as found:
            return [
                compared(NAME, title, "bytes a row", size),
                compared(NAME, f"{title}: compressing all older than a week, once", "s", took),
                *self._reads(title, found, [_OLD, _DAY]),
            ]

    def _reads(self, title: str, found: Choices, names: Sequence[str]) -> list[Case]:
        return [
            self._timed(f"{title}: {name}", "ms", found, partial(Place.read, condition=READS[name]))
            for name in names
        ]

    def _timed(
        self, title: str, unit: str, found: Choices, way: Way, *, lower_is_better: bool = True
    ) -> Case:
        """``way`` in each place, in turns."""
        contenders = [Contender(name, partial(self._once, way, place)) for name, place in found.items()]
        figures = interleaved(contenders, self.plan.rounds)
        return compared(NAME, title, unit, figures, lower_is_better=lower_is_better)

    def _sized(self, title: str, found: Choices, way: Way) -> Case:
        """A size, which is the same each time."""
        return compared(
            NAME, title, "bytes a row", {name: [self._once(way, place)] for name, place in found.items()}
        )

    def _round(self, heads: _Heads) -> float:
        return self.runner.run(heads.round())

    def _once(self, way: Way, place: Place) -> float:
        return self.runner.run(way(place))


async def _cpu_of_inserts(place: Place, rows: int) -> float:
    """µs of the server's CPU that each of so many live prints takes."""
    pid = server_pid(place.one)
    before = cpu_seconds(pid, with_children=True)
    await place.insert(rows)
    return (cpu_seconds(pid, with_children=True) - before) / rows * 1e6


async def _held(place: Place) -> dict[str, list[float]]:
    """µs of the server's CPU a print, by how often its market has moved since the transaction began."""
    costs: dict[str, list[float]] = {}

    async def streamed(name: str) -> None:
        costs[name] = [await _cpu_of_inserts(place, MOVES * BUSY)]

    await place.insert(MOVES * BUSY)
    await streamed("none open")
    other = await asyncpg.connect(place.dsn)
    async with other.transaction(isolation="repeatable_read", readonly=True):
        await other.execute("SELECT FROM markets LIMIT 1")
        for moves in range(MOVES, 5 * MOVES + 1, MOVES):
            await streamed(f"{moves - MOVES} to {moves} moves")
    await other.close()
    await streamed("once it has ended")
    return costs


class _Heads:
    """A fillfactor of oracle_price_heads under a stream of prints, one of each market after the other."""

    def __init__(self, place: Place, fillfactor: int, rows: int) -> None:
        self._place = place
        self._fillfactor = fillfactor
        self._rows = rows
        self.in_page: list[float] = []
        """Per cent of the updates that touched no index, a round each."""
        self.size: list[float] = []
        """kB."""

    async def round(self) -> float:
        """µs of the server's CPU a print."""
        connection = self._place.connection
        await connection.execute(f"ALTER TABLE oracle_price_heads SET (fillfactor = {self._fillfactor})")
        await connection.execute("VACUUM FULL oracle_price_heads")
        await connection.execute("SELECT pg_stat_reset_single_table_counters('oracle_price_heads'::regclass)")
        cost = await _cpu_of_inserts(self._place, self._rows)
        async with self._place.database.connection("cannot flush the counters") as writer:
            await writer.execute("SELECT pg_stat_force_next_flush()")
        row = await connection.fetchrow(_HEADS)
        self.in_page.append(float(row["share"]))
        self.size.append(float(row["size"]))
        return cost


async def _empty(_place: Place) -> None:
    """Nothing is stored yet."""


async def _without(names: Sequence[str], place: Place) -> None:
    for name in names:
        await place.connection.execute(GUARANTEES[name])


async def _parts(place: Place) -> dict[str, list[float]]:
    """What the rows of partitions take, what their key does, and what it does once it is built anew."""
    grown = await place.connection.fetchrow(_PARTS)
    await place.connection.execute("REINDEX TABLE oracle_prices")
    rebuilt = await place.connection.fetchrow(_PARTS)
    sizes = {"rows": grown["rows"], "their key": grown["keys"], "their key, built anew": rebuilt["keys"]}
    return {name: [float(size / grown["count"])] for name, size in sizes.items()}


async def _size(place: Place) -> float:
    return await bytes_a_row(place.connection, "oracle_prices")


async def _compressed_size(place: Place) -> float:
    """Of chunks older than a week, all of which this compresses."""
    return await compressed_bytes_a_row(place.connection)
