"""A full tick of the mark grid, sampling included: all books read, marks and samples computed and committed.

Wall time on a durable PostgreSQL on the same machine, a hundred thousand live orders shared by the markets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from decimal import Decimal

import asyncpg

from bench import servers
from bench.measure import Case, Contender, Result, Round, Spread, compared, interleaved
from bench.peers import naive_marks
from bench.plan import Plan
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.instants import to_timestamp
from tests.integration.pricing.world import START, World, a_market, make_world, with_virtual_clock
from tests.postgres import PostgresServer

NAME = "marks"
ORDERS = 100_000
MARKETS = (3, 50, 200)
TARGET_MS = 250.0
_ORDERS = """
    INSERT INTO orders (user_id, market_id, side, price, size, order_type)
    SELECT $1, m.id, side::position_side, 10000 + step * (1 + n * 0.01), 0.5 + random(), 'limit'
    FROM (SELECT id FROM markets WHERE symbol LIKE 'M%') AS m,
         generate_series(1, $2::int) AS n, (VALUES ('long', -1), ('short', 1)) AS s (side, step)
"""
_TRADES = """
    INSERT INTO trades (user_id, market_id, side, size, price, created_at)
    SELECT $1, id, 'buy', 1, 10000, $2 FROM markets WHERE symbol LIKE 'M%'
"""


def run(plan: Plan) -> list[Case]:
    """Ours against a query and an insert for each market, at 3, 50 and 200 markets."""
    with servers.server(18) as server:
        if server is None:
            return []
        cases = []
        for number in MARKETS:
            servers.new_database(server)
            cases.append(asyncio.run(_case(server, number, plan)))
    return [*cases, _a_market(cases)]


async def _case(server: PostgresServer, number: int, plan: Plan) -> Case:
    world = await _world(server, number)
    connection = await asyncpg.connect(server.dsn(servers.DATABASE))
    instants = iter(range(START + 5 * SECOND, START + 10**6 * SECOND, 5 * SECOND))
    try:
        ids = {state.id: Decimal(10_000) for state in world.markets}
        loop = asyncio.get_running_loop()

        async def naive(instant: int) -> None:
            await naive_marks.tick(connection, ids, to_timestamp(instant))

        def contender(name: str, work: Callable[[int], Awaitable[None]]) -> Contender:
            return Contender(name, _round(loop, world, work, instants))

        contenders = [contender("ours", lambda at: _tick(world, at)), contender("a market at a time", naive)]
        figures = await asyncio.to_thread(interleaved, contenders, plan.rounds)
    finally:
        await connection.close()
        await world.close()
    return compared(
        NAME,
        f"one tick, {number} markets, {ORDERS:,} live orders",
        "ms",
        figures,
        notes=[f"the most that it may take at 200 markets: {TARGET_MS:g} ms"]
        if number == MARKETS[-1]
        else [],
    )


def _round(
    loop: asyncio.AbstractEventLoop,
    world: World,
    work: Callable[[int], Awaitable[None]],
    instants: Iterator[int],
) -> Round:
    """One tick, ms. The print in use is a fresh one each time; that it comes is not measured."""

    async def measured() -> float:
        instant = next(instants)
        await world.set_clocks(instant + 50_000)
        await world.deliver(10_000, instant - SECOND)
        started = time.perf_counter()
        await work(instant)
        return (time.perf_counter() - started) * 1_000

    return lambda: asyncio.run_coroutine_threadsafe(measured(), loop).result()


async def _tick(world: World, instant: int) -> None:
    await world.mark_worker.tick(instant)
    await world.marks.flushed()
    await world.samples.drained(instant + 1)


async def _world(server: PostgresServer, number: int) -> World:
    """One daemon's pricing parts and so many markets, each with its share of the orders and a trade."""
    dsn = server.dsn(servers.DATABASE)
    await with_virtual_clock(server.dsn(), servers.DATABASE)
    world = await make_world(dsn, markets=[a_market(f"M{each}-PERP") for each in range(number)])
    trader = await world._trader()
    await world.sql(_ORDERS, trader, ORDERS // number // 2)
    await world.sql(_TRADES, trader, to_timestamp(START))
    await world.sql("ANALYZE orders")
    await world.prove()
    return world


def _a_market(cases: Sequence[Case]) -> Case:
    """What a market costs, by the number of them: flat, or explained."""
    ours = [case.results[0] for case in cases]
    results = tuple(
        Result(
            f"of {number}", Spread(one.value.median / number, one.value.low / number, one.value.high / number)
        )
        for number, one in zip(MARKETS, ours, strict=True)
    )
    return Case(NAME, "one market's share of a tick", "ms", results)
