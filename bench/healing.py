"""What a live print takes from its arrival to its commit, while two hours of history are read back and without.

The node and a second websocket client, which notes when each print arrives, are this process; the daemon and PostgreSQL
are their own. The budget is that of a public endpoint, and then that of a node of one's own, thirty times as much.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
from websockets.asyncio.client import connect

from bench.collectors import PROGRAM
from bench.measure import Case, Result, Spread
from bench.plan import Plan
from bench.servers import DATABASE, new_database, server
from quantdesk_oracle.localnet import DEFAULT_FEEDS, LocalnetSettings, LocalNode
from tests.clock import VirtualClock

NAME = "healing"
HOURS = 2
ENDPOINT = (
    '[[solana.endpoints]]\nname = "own"\nrpc_url = "{rpc}"\nws_url = "{ws}"\nrequests = {requests}\n'
    "method_requests = {of_a_method}\n"
)
PACES = ((100, 40), (3_000, 3_000))
"""Requests in ten seconds that the endpoint takes, and of one method."""
MARKET = '[[markets]]\nsymbol = "{0}"\nbase_asset = "{0}"\nfeed_id = "{1}"\ngenerations = ["core_upgraded"]\n'
_COMMITS = (
    "SELECT m.symbol, p.slot, extract(epoch FROM pg_xact_commit_timestamp(p.xmin)) AS at FROM oracle_prices AS p"
    " JOIN markets AS m ON m.id = p.market_id WHERE p.source IN ('subscription', 'poll')"
)
_FORGET = (
    "UPDATE oracle_watermarks SET watched_slot = $1, verified_slot = $1, watched_at = now() - $2 * interval '1 hour',"
    " verified_at = now() - $2 * interval '1 hour'"
)
Arrivals = dict[tuple[str, int], float]
"""Market and slot of a print: when it arrived, Unix seconds."""


def run(plan: Plan) -> list[Case]:
    """A case a pace: p50 and p99 without a gap, and while one heals."""
    cases = []
    with server(18, track_commit_timestamp="on") as one:
        if one is None:
            return []
        for pace in PACES:
            new_database(one)
            cases.append(asyncio.run(_measured(one.dsn(DATABASE), max(10.0, 600 * plan.seconds), pace)))
    return cases


async def _measured(dsn: str, seconds: float, pace: tuple[int, int]) -> Case:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with _node() as (node, first_slot):
            path = folder / "quantdesk.toml"
            markets = "".join(MARKET.format(feed.market, feed.feed_id.hex()) for feed in DEFAULT_FEEDS)
            path.write_text(_endpoint(node, pace) + markets)
            async with _arrivals(node) as arrivals:
                async with _daemon(folder, path, dsn):
                    await _until(dsn, "SELECT count(*) = 3 FROM oracle_watermarks")
                    calm = await _latencies(dsn, arrivals, seconds)
                connection = await asyncpg.connect(dsn)
                await connection.execute(_FORGET, first_slot, HOURS)
                await connection.close()
                async with _daemon(folder, path, dsn):
                    await _until(dsn, "SELECT count(*) > 9 FROM oracle_prices WHERE source = 'chain'")
                    busy = await _latencies(dsn, arrivals, seconds)
                    healed = await _fetch(dsn, "SELECT count(*) FROM oracle_prices WHERE source = 'chain'")
                    left = await _fetch(
                        dsn, "SELECT count(*) FROM oracle_gaps WHERE state IN ('open', 'healing')"
                    )
    results = [
        Result(f"{when}, {name}", Spread(value, value, value))
        for when, figures in (("while a gap heals", busy), ("without a gap", calm))
        for name, value in figures.items()
    ]
    note = f"{healed} prints read back by the end of it, {left} gaps still unfinished"
    title = f"arrival of a live print → committed, history at {pace[0]:,} requests in 10 s"
    return Case(NAME, title, "ms", tuple(results), True, "", None, (note,))


def _endpoint(node: LocalNode, pace: tuple[int, int]) -> str:
    requests, of_a_method = pace
    return ENDPOINT.format(rpc=node.rpc_url, ws=node.ws_url, requests=requests, of_a_method=of_a_method)


@asynccontextmanager
async def _node() -> AsyncIterator[tuple[LocalNode, int]]:
    """A node with hours of history behind it that goes on, and the slot that it began with."""
    clock = VirtualClock((int(time.time()) - HOURS * 3_600) * 1_000_000)
    node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, seed=5), clock)
    await node.start()
    first_slot = node.node.slot

    async def go_on() -> None:
        while True:
            await clock.advance_to(time.time_ns() // 1_000)
            await asyncio.sleep(0.005)

    await clock.advance_to(time.time_ns() // 1_000)
    task = asyncio.ensure_future(go_on())
    try:
        yield node, first_slot
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await node.stop()


@asynccontextmanager
async def _arrivals(node: LocalNode) -> AsyncIterator[Arrivals]:
    """When each print arrives at a client that does nothing else."""
    arrivals: Arrivals = {}

    async def listen() -> None:
        async with connect(node.ws_url) as socket:
            for number, feed in enumerate(DEFAULT_FEEDS):
                config = {"encoding": "base64", "commitment": "confirmed"}
                asked = {
                    "jsonrpc": "2.0",
                    "id": number,
                    "method": "accountSubscribe",
                    "params": [feed.address, config],
                }
                await socket.send(json.dumps(asked))
            markets: dict[int, str] = {}
            async for message in socket:
                at, told = time.time(), json.loads(message)
                if "result" in told:
                    markets[told["result"]] = DEFAULT_FEEDS[told["id"]].market
                else:
                    params = told["params"]
                    key = (markets[params["subscription"]], params["result"]["context"]["slot"])
                    arrivals.setdefault(key, at)

    task = asyncio.ensure_future(listen())
    try:
        yield arrivals
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _daemon(folder: Path, config: Path, dsn: str) -> AsyncIterator[None]:
    variables = {"DATABASE_URL": dsn, "SOLANA_NETWORK": "localnet", "QUANTDESK_HTTP_PORT": "0"}
    with (folder / "log").open("a") as log:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "run", "--json", "--config", config, "--state-dir", folder / "state",
            env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _latencies(dsn: str, arrivals: Arrivals, seconds: float) -> dict[str, float]:
    """p50 and p99 of the prints that arrive within ``seconds`` from now, ms."""
    since = time.time()
    await asyncio.sleep(seconds)
    until = time.time()
    await asyncio.sleep(2)
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(_COMMITS)
    await connection.close()
    committed = {(row["symbol"], row["slot"]): float(row["at"]) for row in rows}
    took = [
        (committed[key] - at) * 1_000
        for key, at in arrivals.items()
        if since <= at < until and key in committed
    ]
    hundredths = statistics.quantiles(took, n=100, method="inclusive")
    return {"p50": hundredths[49], "p99": hundredths[98]}


async def _until(dsn: str, condition: str) -> None:
    async with asyncio.timeout(120):
        while not await _fetch(dsn, condition):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _fetch(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()
