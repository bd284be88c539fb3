"""A whole daemon in virtual time: sources, marks, samples, funding, readiness; the database's clock goes with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from quantdesk_oracle.assembly import Parts, World, assemble
from quantdesk_oracle.bootstrap import load_markets
from quantdesk_oracle.clock import Clock
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.instants import to_timestamp
from quantdesk_oracle.workers.state import Markets
from tests.clock import VirtualClock
from tests.integration.healing.world import START, HealingWorld

INTERVAL = 60
FIRST = (START // SECOND // INTERVAL + 1) * INTERVAL
"""The first boundary, Unix seconds."""


class WrongClock:
    """A machine's clock that shows another time than there is, and goes as fast."""

    def __init__(self, right: VirtualClock) -> None:
        self._right = right
        self.ahead = 0
        """µs; negative: behind."""

    def now(self) -> int:
        return self._right.now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        await self._right.sleep(seconds)

    async def sleep_until(self, instant: int) -> None:
        # A sleep is of so many seconds, whatever the clock shows when they are over.
        await self._right.sleep_until(instant - self.ahead)


class Whole:
    """One daemon on the world's node and database."""

    def __init__(self, world: HealingWorld, clock: Clock) -> None:
        self.world = world
        self.clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *bases: str) -> Parts:
        """Start it with these markets, or all."""
        world = self.world
        chosen = tuple(each for each in world.settings.markets if not bases or each.base_asset in bases)
        settings = replace(world.settings, markets=chosen)
        feeds, markets = [feed.name for feed in settings.feeds], [market.symbol for market in chosen]
        metrics = Metrics(feeds, markets, ["node-0"], "test")
        client = RpcClient(settings.node, metrics, self.clock, world.wire)
        parts_of = World(settings, self.clock, world.database, metrics, client, connector=world.wire.connect)
        states = await load_markets(world.database, settings, self.clock.now())
        self.parts = parts = assemble(parts_of, Markets(states))
        parts.mark_worker._books._patience = 10.0  # real seconds, in which no virtual one passes
        works = [writer.run() for writer in parts.writers.values()]
        works += [
            part.run()
            for part in (
                parts.poller,
                parts.subscription,
                parts.watch,
                parts.healing,
                parts.clock_guard,
                parts.samples,
                parts.mark_worker,
                parts.funding,
                parts.status,
                parts.journal,
            )
        ]
        await parts.clock_guard.compare()
        self._tasks = [asyncio.ensure_future(work) for work in works]
        return parts

    async def written(self) -> None:
        """Wait until what has been computed so far is in the table."""
        for task in self._tasks:
            if task.done():
                task.result()
        await self.parts.samples.drained(self.clock.now())
        for writer in self.parts.writers.values():
            await writer.flushed()

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class WholeWorld:
    """A chain, a database whose clock is the world's, and daemons, each with a clock of its own."""

    def __init__(self, world: HealingWorld) -> None:
        self.world = world
        self.daemons: list[Whole] = []

    async def begin(self) -> None:
        await self.set_clock()
        await self.sql(f"UPDATE markets SET funding_interval = {INTERVAL}")

    async def daemon(self, clock: Clock | None = None, *bases: str) -> Parts:
        """One more."""
        whole = Whole(self.world, clock or self.world.clock)
        self.daemons.append(whole)
        return await whole.start(*(bases or ("BTC",)))

    async def run(self, seconds: int) -> None:
        """Let time pass, second by second, each with all that belongs to it."""
        for _ in range(seconds):
            await self.set_clock(ahead=SECOND)
            await self.world.clock.advance(1)
            await self.world.database.quiet()
            for whole in self.daemons:
                async with asyncio.timeout(30):
                    await whole.written()

    async def set_clock(self, *, ahead: int = 0) -> None:
        """The database's, to the world's time; ``ahead`` (µs) of it for the second that is about to pass."""
        await self.sql("UPDATE virtual.clock SET now = $1", to_timestamp(self.world.clock.now() + ahead))

    async def sql(self, statement: str, *arguments: Any) -> list[Any]:
        async with self.world.database.connection("test") as connection:
            rows: list[Any] = await connection.fetch(statement, *arguments)
        return rows

    async def instants(self, table: str) -> list[int]:
        """Of BTC's rows, seconds after START."""
        rows = await self.sql(
            f"SELECT extract(epoch FROM t.created_at)::bigint AS at FROM {table} AS t"
            " JOIN markets AS m ON m.id = t.market_id WHERE m.symbol = 'BTC-PERP' ORDER BY 1"
        )
        return [row["at"] - START // SECOND for row in rows]

    async def rates(self) -> list[Any]:
        """BTC's, oldest first."""
        return await self.sql(
            "SELECT r.* FROM funding_rates AS r JOIN markets AS m ON m.id = r.market_id"
            " WHERE m.symbol = 'BTC-PERP' ORDER BY r.created_at"
        )

    async def close(self) -> None:
        for whole in self.daemons:
            await whole.kill()
