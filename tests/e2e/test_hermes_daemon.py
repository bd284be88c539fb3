"""A daemon as a process against a Hermes on real sockets: a market's own feed, a second source, outages, SIGHUP."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS
from tests.e2e import truth, world
from tests.e2e.conftest import Program
from tests.hermes_server import KEY, HermesServer, hermes_server, of_bytes
from tests.postgres import TEMPLATE, PostgresServer, execute

BTC, ETH, SOL = (feed.feed_id for feed in DEFAULT_FEEDS)
MARKET = """
[[markets]]
symbol = "{0}-PERP"
base_asset = "{0}"
feed_id = "{1}"
"""
OWN = 'source = "hermes"\nuse = { fresh = 5, stale = 60 }\n'
ON_CHAIN = 'generations = ["core_upgraded"]\n'


def market(base: str, feed_id: bytes, more: str) -> str:
    return MARKET.format(base, feed_id.hex()) + more


def settings(server: HermesServer, *markets: str, second_source: bool = False) -> str:
    told = "true" if second_source else "false"
    return (
        f'[hermes]\nurls = ["{server.url}"]\nbenchmarks_url = "{server.url}"\nrequests = 100\n'
        f"silence_limit = 2\nsecond_source = {told}\n" + "".join(markets)
    )


async def publish(server: HermesServer, priced: dict[bytes, Callable[[], int]]) -> None:
    """A print of each feed a second, published in the second that it is of."""
    last = int(time.time())
    while True:
        now = int(time.time())
        for second in range(last + 1, now + 1):
            for number, (feed_id, price) in enumerate(priced.items()):
                server.publish(feed_id, second, second * 10 + number, price(), confidence=100)
        last = now
        await asyncio.sleep(0.1)


@asynccontextmanager
async def publishing(priced: dict[bytes, Callable[[], int]]) -> AsyncIterator[HermesServer]:
    async with hermes_server() as server:
        task = asyncio.ensure_future(publish(server, priced))
        try:
            yield server
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def dsn(postgres_18: PostgresServer) -> AsyncIterator[str]:
    await execute(postgres_18.dsn(), f"CREATE DATABASE on_hermes TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    yield postgres_18.dsn("on_hermes")
    await execute(postgres_18.dsn(), "DROP DATABASE on_hermes WITH (FORCE)")


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while not (found := await condition()):  # noqa: ASYNC110 (of other processes)
            await asyncio.sleep(0.1)
    return found


async def published_and_stored(dsn: str, server: HermesServer, feed_id: bytes, symbol: str) -> None:
    """The market's rows are what was published of its feed, from the first one to the last one."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT extract(epoch FROM p.created_at)::bigint AS at, p.slot FROM oracle_prices AS p"
            " JOIN markets AS m ON m.id = p.market_id WHERE m.symbol = $1",
            symbol,
        )
    finally:
        await connection.close()
    stored = sorted(map(tuple, rows))
    assert stored
    published = [(one.publish_time, one.slot) for one in server.published if one.feed_id == feed_id]
    assert stored == [one for one in published if stored[0] <= one <= stored[-1]]


async def test_feeds_of_its_own_through_an_outage_and_a_sighup(
    program: Program, dsn: str, tmp_path: Path
) -> None:
    config, node = tmp_path / "quantdesk.toml", world.Node(tmp_path, {"HERMES_API_KEY": KEY}, None)  # type: ignore[arg-type]
    async with publishing({BTC: lambda: 10**12, ETH: lambda: 10**11}) as server:
        config.write_text(settings(server, market("BTC", BTC, OWN)))
        daemon = world.Daemon(program, node, tmp_path / "state", dsn, {"QUANTDESK_CONFIG": str(config)})
        daemon.start()

        async def ready() -> bool:
            return bool((await daemon.status()).get("ready"))

        async def rows(sql: str) -> Any:
            connection = await asyncpg.connect(dsn)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        await until(ready)
        config.write_text(settings(server, market("BTC", BTC, OWN), market("ETH", ETH, OWN)))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        await until(lambda: rows("SELECT count(DISTINCT market_id) = 2 FROM oracle_prices"))
        await until(lambda: rows("SELECT count(*) = 2 FROM oracle_watermarks"))

        async def one_stream() -> bool:
            return server.streams == 1

        await until(one_stream)
        server.instead = of_bytes(b"", 502)
        server.end_streams()
        await asyncio.sleep(4)  # prints of four seconds are missed
        server.instead = None
        await until(lambda: rows("SELECT count(*) = 2 FROM oracle_gaps WHERE state = 'closed'"))
        await until(ready)
        summary = await daemon.stop()
        assert not await rows("SELECT count(*) FROM oracle_gaps WHERE state <> 'closed'")
        for feed_id, symbol in ((BTC, "BTC-PERP"), (ETH, "ETH-PERP")):
            await published_and_stored(dsn, server, feed_id, symbol)
    assert summary["rejected"] == {}
    assert summary["rows"]["mark_prices"] > 0
    connection = await asyncpg.connect(dsn)
    try:
        assert await truth.assert_marks_recompute(connection) > 0
    finally:
        await connection.close()


async def test_a_second_source_is_compared_and_nothing_of_it_is_stored(
    program: Program, dsn: str, tmp_path: Path
) -> None:
    factor = [1.0]
    node = await world.start_node(program, tmp_path)

    def price() -> int:
        newest = [line for line in truth.ledger_rows(node.ledger) if line["market"] == "BTC-PERP"][-1]
        return round(newest["price"] * factor[0])

    async with publishing({BTC: price}) as server:
        Path(node.variables["QUANTDESK_CONFIG"]).write_text(  # noqa: ASYNC240
            settings(server, market("BTC", BTC, ON_CHAIN), second_source=True)
        )
        daemon = world.Daemon(program, node, tmp_path / "state", dsn, {"HERMES_API_KEY": KEY})
        daemon.start()

        async def opinion(wanted: str) -> bool:
            markets = (await daemon.status()).get("markets") or [{}]
            return bool(markets[0].get("second_source") == wanted)

        await until(lambda: opinion("agrees"))
        factor[0] = 1.02
        await until(lambda: opinion("differs"))
        factor[0] = 1.0
        await until(lambda: opinion("agrees"))
        await daemon.stop()
        node.stop()
    connection = await asyncpg.connect(dsn)
    try:
        sources = await connection.fetch("SELECT DISTINCT source::text FROM oracle_prices")
        told = await connection.fetchval(
            "SELECT count(*) FROM system_events WHERE event_type = 'source.disagreed'"
        )
    finally:
        await connection.close()
    assert {row["source"] for row in sources} <= {"poll", "subscription", "chain"}
    assert told == 1
