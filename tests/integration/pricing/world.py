"""The pricing parts of one daemon on a real database, driven instant by instant.

world = await make_world(dsn)
await world.prints(3)                      # the feed is proven
await world.ticks(20)                      # twenty seconds of marks and samples
await world.settle()                       # whatever is due is settled

Both clocks, the daemon's and the database's, are the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config.settings import Feed, Market
from quantdesk_oracle.model import (
    SECOND,
    Event,
    Generation,
    MarkPrice,
    PriceUpdate,
    Source,
    StoredPrint,
    Verdict,
)
from quantdesk_oracle.ops.events import EventLimiter
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.pricing.acceptance import StorageLimits
from quantdesk_oracle.pricing.use import UseLimits
from quantdesk_oracle.store import series
from quantdesk_oracle.store.backlog import Backlog
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.faults import DatabaseTroubleError, Kind
from quantdesk_oracle.store.instants import to_timestamp
from quantdesk_oracle.store.markets import ensure_markets, read_markets
from quantdesk_oracle.store.spool import Spool
from quantdesk_oracle.store.writer import BatchWriter
from quantdesk_oracle.workers.books import BookReader, restore_averages
from quantdesk_oracle.workers.drain import DrainWorker, Outlet
from quantdesk_oracle.workers.funding import FundingWorker
from quantdesk_oracle.workers.journal import Journal
from quantdesk_oracle.workers.marks import MarkWorker
from quantdesk_oracle.workers.parameters import current_parameters
from quantdesk_oracle.workers.samples import SampleWorker
from quantdesk_oracle.workers.state import Markets, MarketState
from tests.clock import VirtualClock
from tests.postgres import execute

START = 1_768_003_200 * SECOND
"""2026-01-10 00:00:00 UTC: a boundary of every interval, and in the past of every machine."""
SLOT = 400_000_000
INTERVAL = 60
PATIENCE = 30.0
SYMBOL = "BTC-PERP"


async def with_virtual_clock(dsn: str, name: str) -> None:
    """Let clock_timestamp() of the daemon's statements in database ``name`` be a row that a test writes."""
    await execute(dsn, f"ALTER DATABASE {name} SET search_path = virtual, pg_catalog, public")
    await execute(
        dsn.rsplit("/", 1)[0] + f"/{name}",
        "CREATE SCHEMA virtual",
        "CREATE TABLE virtual.clock (now timestamptz NOT NULL)",
        f"INSERT INTO virtual.clock VALUES (to_timestamp({START // SECOND}))",
        "CREATE FUNCTION virtual.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
        " AS 'SELECT now FROM virtual.clock'",
    )


def a_market(symbol: str = SYMBOL, **changes: Any) -> Market:
    """A market with one feed."""
    settings: dict[str, Any] = {
        "symbol": symbol,
        "base_asset": symbol.split("-", maxsplit=1)[0],
        "quote_asset": "USD",
        "feeds": (Feed(symbol, "7" * 44, Generation.CORE_UPGRADED, bytes(32)),),
        "storage": StorageLimits(),
        "use": UseLimits(),
        "mark_band": Decimal("0.01"),
        "funding_interval": INTERVAL,
        "max_funding_rate": 400,
    }
    return Market(**{**settings, **changes})


class World:
    """One daemon's pricing parts."""

    def __init__(
        self,
        database: Database,
        markets: Markets,
        clock: VirtualClock,
        patience: float,
        spool: Path | None = None,
    ) -> None:
        self.database = database
        self.refusing = False
        """Whether the database takes no row of this daemon's writers, as a primary does that has become a standby."""
        self.markets = markets
        self.clock = clock
        self.may_write = True
        self.healed: Callable[[MarketState, int], bool] = lambda _state, _boundary: True
        metrics = Metrics(
            [f"{state.symbol}/core_upgraded" for state in markets], list(markets.by_symbol), [], "0"
        )
        self.backlog = None if spool is None else Backlog(_spool(spool), clock, metrics)
        writer = partial(self._writer, clock, metrics)
        self.prices: BatchWriter[StoredPrint] = writer(
            "oracle_prices", partial(series.insert_oracle_prices, database, markets.ids)
        )
        self.marks: BatchWriter[MarkPrice] = writer(
            "mark_prices", partial(series.insert_mark_prices, database, markets.ids)
        )
        self.events: BatchWriter[Event] = writer(
            "system_events", partial(series.insert_system_events, database)
        )
        self.journal = Journal(self.events, EventLimiter(), clock)
        self.samples = SampleWorker(markets, self.marks, database, clock, metrics, self.backlog)
        self.books = BookReader(markets, database, self.journal, patience=patience)
        self.mark_worker = MarkWorker(
            markets,
            self.books,
            self.marks,
            self.journal,
            clock,
            metrics,
            interval=SECOND,
            may_write=lambda: self.may_write,
            on_instant=self.samples.offer,
        )
        self.funding = FundingWorker(
            markets,
            self.samples,
            database,
            clock,
            metrics,
            settle_delay=5 * SECOND,
            late_after=60 * SECOND,
            may_write=lambda: self.may_write,
            healed=lambda state, boundary: self.healed(state, boundary),  # noqa: PLW0108 (tests replace it)
        )
        runs = [self.prices.run(), self.marks.run(), self.events.run(), self.samples.run()]
        self._tasks = [asyncio.create_task(run) for run in runs]

    def _writer(
        self,
        clock: VirtualClock,
        metrics: Metrics,
        table: str,
        insert: Callable[[Sequence[Any]], Awaitable[int]],
    ) -> BatchWriter[Any]:
        def refused(row: object, error: Exception) -> None:
            raise AssertionError(f"{table} refuses {row}: {error}")

        async def inserting(rows: Sequence[Any]) -> int:
            if self.refusing:
                raise DatabaseTroubleError(f"cannot store {table}: read-only", Kind.READ_ONLY)
            return await insert(rows)

        return BatchWriter(
            table,
            inserting,
            clock,
            metrics,
            batch_rows=500,
            capacity=100_000,
            on_refused=refused,
            on_trouble=lambda _trouble: None,
            backlog=self.backlog,
        )

    async def drain(self) -> None:
        """Move what lies on disk to the database, as a daemon does once it is back."""
        assert self.backlog is not None
        writers = (self.prices, self.marks, self.events)
        outlets: dict[str, Outlet] = {writer.table: writer.store for writer in writers}
        outlets["premium_samples"] = self.samples.store_due
        await DrainWorker(
            self.backlog, outlets, self.journal, SystemClock(), batch_rows=500, busy=lambda: False
        ).drain()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.backlog is not None:
            await self.backlog.close()
        async with asyncio.timeout(PATIENCE):
            await self.database.close()

    @property
    def btc(self) -> MarketState:
        """The market that most tests are about."""
        return self.markets.by_symbol[SYMBOL]

    async def sql(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.database.connection("a test's statement") as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows

    async def value(self, statement: str, *arguments: Any) -> Any:
        return (await self.sql(statement, *arguments))[0][0]

    async def set_clocks(self, instant: int, *, database: int | None = None) -> None:
        """Move the daemon's clock and, to the same instant or its own, the database's (µs)."""
        self.clock.set(instant)
        theirs = instant if database is None else database
        await self.sql("UPDATE virtual.clock SET now = $1", to_timestamp(theirs))

    async def deliver(
        self, price: Decimal | int, at: int, *, verdict: Verdict = Verdict.ACCEPTED, **values: Any
    ) -> None:
        """A print published and received at ``at`` (µs), stored and, as its verdict allows, used."""
        update = a_print(price, at, **values)
        for state in self.markets:
            self.prices.put(StoredPrint(state.symbol, update, verdict, Source.SUBSCRIPTION, at))
            if verdict in (Verdict.ACCEPTED, Verdict.WIDE):
                state.index.feeds[0].accept(update, at, self.markets.highest_slot)
        self.markets.highest_slot = max(self.markets.highest_slot, update.slot)
        await self.prices.flushed()

    async def prove(self, price: Decimal | int = 10_000, at: int | None = None) -> None:
        """Three prints in the three seconds up to ``at``, the clock's now by default: the feed is proven."""
        end = self.clock.now() if at is None else at
        for number in (2, 1, 0):
            await self.deliver(price, end - number * SECOND)

    async def tick(self, instant: int) -> None:
        """One instant of the mark grid, a twentieth of a second late, and its sample."""
        await self.set_clocks(instant + 50_000)
        await self.mark_worker.tick(instant)
        await self.written()

    async def ticks(self, seconds: int, *, price: Decimal | int | None = 10_000, step: int = 1) -> None:
        """``seconds`` of the grid from the clock's next whole second on; with a print each 20 s, or none."""
        first = -(-self.clock.now() // SECOND) * SECOND
        for instant in range(first, first + seconds * SECOND, step * SECOND):
            if price is not None and instant % (20 * SECOND) == 0:
                await self.deliver(price, instant)
            await self.tick(instant)

    async def written(self) -> None:
        """Wait until everything that has been offered is written."""
        async with asyncio.timeout(PATIENCE):
            await self.marks.flushed()
            await self.samples.drained(self.clock.now() + SECOND)
            await self.events.flushed()

    async def settle(self, at: int | None = None) -> None:
        """Settle what is due at ``at`` (µs), the clock's now by default."""
        if at is not None:
            await self.set_clocks(at)
        await self.funding.settle_due()

    async def order(self, side: str, price: Any, size: Any, *, market: str = SYMBOL, **columns: Any) -> None:
        """A limit order of the one trader there is."""
        values = {"order_type": "limit", "status": "pending", **columns}
        await self.sql(
            f"INSERT INTO orders (user_id, market_id, side, price, size, {', '.join(values)})"
            f" VALUES ('{await self._trader()}', '{self.markets.ids[market]}', '{side}', {price}, {size},"
            f" {', '.join(map(_literal, values.values()))})"
        )

    async def trade(self, price: Any, at: int, size: Any = 1) -> None:
        await self.sql(
            "INSERT INTO trades (user_id, market_id, side, size, price, created_at) VALUES ($1, $2, 'buy', $3, $4, $5)",
            await self._trader(),
            self.btc.id,
            Decimal(size),
            Decimal(price),
            to_timestamp(at),
        )

    async def position(self, side: str, size: Any, **columns: Any) -> None:
        values = {"entry_price": 10_000, "margin": 1_000, "leverage": 100, **columns}
        await self.sql(
            f"INSERT INTO positions (user_id, market_id, side, size, {', '.join(values)})"
            f" VALUES ('{await self._trader()}', '{self.btc.id}', '{side}', {size},"
            f" {', '.join(_literal(value) for value in values.values())})"
        )

    async def _trader(self) -> Any:
        return await self.value(
            "INSERT INTO users (wallet_address) VALUES ('trader')"
            " ON CONFLICT (wallet_address) DO UPDATE SET updated_at = now() RETURNING id"
        )

    async def rates(self) -> list[asyncpg.Record]:
        """The funding rows of BTC, oldest first."""
        return await self.sql(
            "SELECT * FROM funding_rates WHERE market_id = $1 ORDER BY created_at", self.btc.id
        )

    async def event_types(self) -> list[str]:
        await self.written()
        rows = await self.sql("SELECT event_type FROM system_events ORDER BY created_at, event_type")
        return [row["event_type"] for row in rows]


def _literal(value: Any) -> str:
    return (
        f"'{value}'"
        if isinstance(value, str)
        else str(value).upper()
        if isinstance(value, bool)
        else str(value)
    )


def a_print(price: Decimal | int, at: int, **values: Any) -> PriceUpdate:
    """A print of ``price`` with eight decimals, published at ``at`` (µs), of the slot of that time."""
    raw = int(Decimal(price).scaleb(8))
    seconds = (at - START) // SECOND
    update = PriceUpdate(
        feed_id=bytes(32),
        price=raw,
        confidence=raw // 10_000,
        exponent=-8,
        publish_time=at // SECOND,
        prev_publish_time=at // SECOND - 1,
        ema_price=raw,
        ema_confidence=raw // 10_000,
        slot=SLOT + seconds * 5 // 2,
    )
    return update._replace(**values)


async def make_world(
    dsn: str,
    *,
    markets: Sequence[Market] = (),
    start: int = START,
    patience: float = PATIENCE,
    spool: Path | None = None,
) -> World:
    """The parts of one daemon that begins at ``start`` (µs), with a spool in that folder, or none."""
    clock = VirtualClock(start)
    database = Database(dsn, pool_size=4, command_timeout=PATIENCE)
    await database.open()
    chosen = tuple(markets) or (a_market(),)
    async with database.connection("prepare") as connection:
        await connection.execute("UPDATE virtual.clock SET now = $1", to_timestamp(start))
        if await connection.fetchval("SELECT count(*) FROM mark_prices") == 0:
            await connection.execute(
                "UPDATE markets SET funding_interval = $1, max_funding_rate = 400", chosen[0].funding_interval
            )
    await ensure_markets(database, chosen, "")
    rows = await read_markets(database, [market.symbol for market in chosen])
    states = []
    for market in chosen:
        row = rows[market.symbol]
        states.append(MarketState(market, row, await current_parameters(database, row, market, start)))
    await restore_averages(database, states, start)
    world = World(database, Markets(states), clock, patience, spool)
    if world.backlog is not None:
        await world.backlog.open()
    return world


def _spool(folder: Path) -> Spool:
    def damaged(_path: Path, cause: str) -> None:
        raise AssertionError(f"the spool is damaged: {cause}")

    return Spool(folder, capacity=10**9, on_set_aside=damaged)
