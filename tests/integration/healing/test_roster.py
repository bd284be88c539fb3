"""Markets that come and go while the daemon runs: new ones lose nothing, leaving ones settle, the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from quantdesk_oracle.assembly import Parts
from quantdesk_oracle.bootstrap import load_markets
from quantdesk_oracle.config import Market
from quantdesk_oracle.model import SECOND
from tests.e2e import truth
from tests.integration.healing.world import START, HealingWorld, Start

INTERVAL = 60
FIRST = (START // SECOND // INTERVAL + 1) * INTERVAL
"""The first boundary, Unix seconds."""


@pytest.fixture
async def world(start: Start) -> HealingWorld:
    """BTC and ETH, funded every minute."""
    made = await start()
    async with made.database.connection("test") as connection:
        await connection.execute(f"UPDATE markets SET funding_interval = {INTERVAL}")
    return made


def markets(world: HealingWorld, *bases: str) -> tuple[Market, ...]:
    return tuple(market for market in world.settings.markets if market.base_asset in bases)


async def begin(world: HealingWorld, *bases: str) -> Parts:
    """A daemon with these markets, pricing and funding too."""
    everything = world.settings
    world.settings = replace(everything, markets=markets(world, *bases))
    parts = await world.start_daemon()
    world.settings = everything
    works = (parts.mark_worker, parts.samples, parts.funding, parts.status)
    world._tasks += [asyncio.ensure_future(work.run()) for work in works]
    return parts


async def reread(world: HealingWorld, *bases: str) -> None:
    """What the daemon does on SIGHUP with settings that name these markets."""
    assert world.parts is not None
    wished, roster = markets(world, *bases), world.parts.roster
    roster.follow(wished)
    new = replace(world.settings, markets=roster.new(wished))
    roster.admit(await load_markets(world.database, new, world.clock.now()))


async def instants(world: HealingWorld, table: str, base: str) -> list[int]:
    """Of the rows of a market, Unix seconds."""
    rows = await world.fetch(
        f"SELECT extract(epoch FROM t.created_at)::bigint AS at FROM {table} AS t"
        f" JOIN markets AS m ON m.id = t.market_id WHERE m.symbol = '{base}-PERP' ORDER BY 1"
    )
    return [row["at"] for row in rows]


async def stored(world: HealingWorld, base: str) -> list[tuple[Any, ...]]:
    async with world.database.connection("test") as connection:
        return sorted(row for row in await truth.stored_prints(connection) if row[0] == f"{base}-PERP")


def pushed(world: HealingWorld, base: str, since: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What the node pushed of a market, from the print ``since`` on."""
    lines = map(truth.expected_print, truth.ledger_rows(world.ledger))
    return sorted(line for line in lines if line[0] == f"{base}-PERP" and line[2] >= since[2])


async def test_a_market_that_comes_is_followed_at_once_and_disturbs_nobody(world: HealingWorld) -> None:
    parts = await begin(world, "BTC", "ETH")
    await world.run(20)
    assert await stored(world, "SOL") == []
    await reread(world, "BTC", "ETH", "SOL")
    await world.run(30)
    await world.node.stop_pushing()
    await world.run(3)
    sol = await stored(world, "SOL")
    assert sol == pushed(world, "SOL", since=sol[0])
    assert len(sol) >= 29
    assert "subscription" in await sources(world, "SOL")
    marks = await instants(world, "mark_prices", "BTC")
    assert marks == list(range(marks[0], marks[-1] + 1))
    assert await instants(world, "mark_prices", "SOL")
    assert parts.subscription.connections == 1
    assert await world.fetch("SELECT FROM oracle_gaps") == []
    assert len(await world.fetch("SELECT FROM oracle_watermarks")) == 3
    assert {market.market for market in parts.status.markets()} == {"BTC-PERP", "ETH-PERP", "SOL-PERP"}


async def sources(world: HealingWorld, base: str) -> list[str]:
    rows = await world.fetch(
        "SELECT DISTINCT p.source FROM oracle_prices AS p JOIN markets AS m ON m.id = p.market_id"
        f" WHERE m.symbol = '{base}-PERP'"
    )
    return [row["source"] for row in rows]


async def test_a_market_that_goes_settles_its_running_interval_first(world: HealingWorld) -> None:
    parts = await begin(world, "BTC", "ETH")
    await world.run(10)
    await reread(world, "BTC")
    (leaving,) = [market for market in parts.status.markets() if market.leaves_at is not None]
    assert (leaving.market, leaving.leaves_at) == ("ETH-PERP", FIRST)
    await world.run(FIRST - world.clock.now() // SECOND + 10)
    assert [market.market for market in parts.status.markets()] == ["BTC-PERP"]
    prints = await stored(world, "ETH")
    await world.run(80)
    assert await stored(world, "ETH") == prints
    assert (await instants(world, "mark_prices", "ETH"))[-1] == FIRST - 1
    assert (await instants(world, "premium_samples", "ETH"))[-1] == FIRST - 5
    assert await instants(world, "funding_rates", "ETH") == [FIRST]
    assert await instants(world, "funding_rates", "BTC") == [FIRST, FIRST + INTERVAL]
    assert "ETH-PERP" not in (await scrape(parts))


async def scrape(parts: Parts) -> str:
    await parts.status.refresh()
    return parts.ingest._metrics.render().decode()


async def test_a_market_that_comes_back_before_it_has_left_stays_as_if_nothing_had_been(
    world: HealingWorld,
) -> None:
    parts = await begin(world, "BTC", "ETH")
    await world.run(10)
    await reread(world, "BTC")
    await world.run(5)
    await reread(world, "BTC", "ETH")
    await world.run(FIRST - world.clock.now() // SECOND + 20)
    assert len(parts.status.markets()) == 2
    marks = await instants(world, "mark_prices", "ETH")
    assert marks == list(range(marks[0], marks[-1] + 1))
    assert marks[-1] > FIRST + 10


async def test_what_was_missed_while_a_market_was_away_is_a_gap_and_is_healed(world: HealingWorld) -> None:
    parts = await begin(world, "BTC", "ETH")
    await world.run(20)
    await reread(world, "BTC")
    await world.run(FIRST - world.clock.now() // SECOND + 40)
    assert len(parts.status.markets()) == 1
    await reread(world, "BTC", "ETH")
    await world.run(45)
    await world.until_healed()
    await world.node.stop_pushing()
    await world.run(5)
    gaps = await world.fetch("SELECT * FROM oracle_gaps")
    assert [(row["cause"], row["state"]) for row in gaps] == [("start", "closed")]
    assert gaps[0]["inserted"] > 20
    eth = await stored(world, "ETH")
    assert eth == pushed(world, "ETH", since=eth[0])


async def test_a_market_that_leaves_while_its_gap_is_being_healed_stops_nobody(world: HealingWorld) -> None:
    await begin(world, "BTC", "ETH")
    await world.run(45)
    await world.kill_daemon()
    await world.clock.advance(600)
    parts = await begin(world, "BTC", "ETH")
    await world.run(2)
    state = world.parts.markets.by_symbol["ETH-PERP"]  # type: ignore[union-attr]
    parts.roster.left(state)
    await world.run(60)
    assert all(not task.done() for task in world._tasks)
    rows = await world.fetch(
        "SELECT m.symbol, g.state FROM oracle_gaps AS g JOIN markets AS m ON m.id = g.market_id ORDER BY 1"
    )
    assert dict(map(tuple, rows))["BTC-PERP"] == "closed"
