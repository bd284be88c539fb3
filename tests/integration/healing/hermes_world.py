"""A Hermes that publishes whatever happens, on real sockets, and the daemon's parts that follow it, many times as fast.

What it has published is the truth that the table is compared with.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from quantdesk_oracle.assembly import Parts, World, assemble
from quantdesk_oracle.bootstrap import load_markets
from quantdesk_oracle.config import Feed, Market, Settings
from quantdesk_oracle.model import SECOND, Source
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.workers.state import Markets
from tests.hermes_server import KEY, HermesServer

SPEED = 20
PATIENCE = 120.0
"""Real seconds that a test waits for anything."""
UNFINISHED = "SELECT FROM oracle_gaps WHERE state IN ('open', 'healing')"


class FastClock:
    """The machine's clock, many times as fast from the moment on that it is made."""

    def __init__(self, speed: int = SPEED) -> None:
        self._speed = speed
        self._began = time.monotonic()
        self._start = time.time_ns() // 1_000

    def now(self) -> int:
        return self._start + round((time.monotonic() - self._began) * self._speed * SECOND)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

    async def sleep_until(self, instant: int) -> None:
        await self.sleep(max(instant - self.now(), 0) / SECOND)


def on_hermes(market: Market) -> Market:
    """The market, its prices from Hermes."""
    assert market.feed_id is not None
    feed = Feed(market.symbol, market.feed_id.hex(), None, market.feed_id, source=Source.HERMES)
    return replace(market, feeds=(feed,), use=market.use._replace(slot_time=0))


class HermesWorld:
    """Feeds that are published every second, and daemons that come and go."""

    def __init__(self, settings: Settings, dsn: str, server: HermesServer, history: Source | None) -> None:
        self.clock = FastClock()
        self.server = server
        hermes = replace(
            settings.hermes,
            urls=(SecretStr(server.url),),
            benchmarks_url=SecretStr(server.url),
            key=SecretStr(KEY),
            history=history,
            requests=40,
            # Real seconds, many of them: a busy machine is not a silent server.
            silence_limit=SPEED * 30.0,
            request_timeout=SPEED * 10.0,
        )
        markets = tuple(map(on_hermes, settings.markets))
        self.settings = replace(settings, markets=markets, hermes=hermes)
        self.database = Database(dsn, pool_size=4, command_timeout=10)
        self.parts: Parts | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._market = asyncio.ensure_future(self._publish())

    async def _publish(self) -> None:
        last = self.clock.now() // SECOND
        feeds = {market.feed_id: 0 for market in self.settings.markets}
        while True:
            now = self.clock.now() // SECOND
            for second in range(last + 1, now + 1):  # whatever the machine is at, there is one a second
                for number, feed_id in enumerate(feeds):
                    assert feed_id is not None
                    if (
                        second % (number + 1) == 0
                    ):  # the second feed every other second, the third every third
                        price = 1_000_000 + second % 997
                        self.server.publish(feed_id, second, second * 10 + number, price, confidence=100)
            last = now
            await self.clock.sleep(0.5)

    async def start_daemon(self, *bases: str) -> Parts:
        """Start what follows Hermes and writes, for these markets or all."""
        chosen = tuple(one for one in self.settings.markets if not bases or one.base_asset in bases)
        settings = replace(self.settings, markets=chosen)
        feeds, symbols = [feed.name for feed in settings.feeds], [market.symbol for market in chosen]
        metrics = Metrics(feeds, symbols, ["node-0"], "test")
        client = RpcClient(settings.node, metrics, self.clock)
        world = World(settings, self.clock, self.database, metrics, client)
        states = await load_markets(self.database, settings, self.clock.now())
        self.parts = parts = assemble(world, Markets(states))
        works = [writer.run() for writer in parts.writers.values()]
        works += [parts.journal.run(), parts.hermes.streams.run(), parts.hermes.watch.run()]
        works += [parts.hermes.healing.run()] if parts.hermes.healing else []
        self._tasks = [asyncio.ensure_future(work) for work in works]
        return parts

    async def kill_daemon(self) -> None:
        """End it as kill -9 does: nothing is flushed."""
        for task in self._tasks:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self.parts is not None:
            await self.parts.hermes.close()

    async def reread(self, *bases: str) -> None:
        """What the daemon does on SIGHUP with settings that name these markets."""
        assert self.parts is not None
        wished = [one for one in self.settings.markets if one.base_asset in bases]
        roster = self.parts.roster
        roster.follow(wished)
        new = replace(self.settings, markets=roster.new(wished))
        roster.admit(await load_markets(self.database, new, self.clock.now()))

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await condition():
                for task in self._tasks:
                    assert not task.done(), task
                await asyncio.sleep(0.02)

    async def until_healed(self) -> None:
        """Until every feed is watched, and no gap is unfinished."""
        assert self.parts is not None
        watch, markets = self.parts.hermes.watch, self.parts.markets

        async def healed() -> bool:
            begun = all(watch.has_begun(state.symbol) for state in markets)
            return begun and not await self.fetch(UNFINISHED)

        await self.until(healed)

    async def until_watched(self) -> None:
        """Until the watermarks have moved since the watch began."""
        before = {tuple(row) for row in await self.fetch("SELECT watched_at FROM oracle_watermarks")}

        async def moved() -> bool:
            now = {tuple(row) for row in await self.fetch("SELECT watched_at FROM oracle_watermarks")}
            return bool(now) and now.isdisjoint(before)

        await self.until(moved)

    async def fetch(self, sql: str) -> list[Any]:
        async with self.database.connection("test") as connection:
            rows: list[Any] = await connection.fetch(sql)
        return rows

    async def gaps(self) -> Counter[tuple[str, str]]:
        """(cause, state) of the gaps that somebody was told of, and how many there are."""
        rows = await self.fetch("SELECT cause, state FROM oracle_gaps WHERE cause <> 'sweep'")
        return Counter((row["cause"], row["state"]) for row in rows)

    async def assert_table_is_what_was_published(self, *bases: str) -> int:
        """From each market's first row on, row for row; how many."""
        await self.clock.sleep(2)
        rows = await self.fetch(
            "SELECT m.symbol, extract(epoch FROM p.created_at)::bigint AS at, p.slot, p.price FROM oracle_prices AS p"
            " JOIN markets AS m ON m.id = p.market_id"
        )
        count = 0
        for market in self.settings.markets:
            if bases and market.base_asset not in bases:
                continue
            stored = {
                (row["at"], row["slot"], row["price"]) for row in rows if row["symbol"] == market.symbol
            }
            first, last = min(stored)[0], max(stored)[0]
            published = {
                (one.publish_time, one.slot, one.price)
                for one in self.server.published
                if one.feed_id == market.feed_id and first <= one.publish_time <= last
            }
            found = {(at, slot, int(price.scaleb(8))) for at, slot, price in stored}
            assert found == published, (market.symbol, sorted(published ^ found)[:5], len(published ^ found))
            count += len(found)
        return count

    async def close(self) -> None:
        self._market.cancel()
        await self.kill_daemon()
        await self.database.close()


async def unavailable(_request: web.Request) -> web.StreamResponse:
    """What a Hermes that is down answers."""
    return web.Response(status=502)
