"""Chain history into an empty table, stopped at any point and gone on with."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from quantdesk_oracle.cli.backfill_report import summary_of
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.markets import read_markets
from quantdesk_oracle.workers.backfill import Backfill, FeedReport, Span, without
from quantdesk_oracle.workers.history_reader import chain_reader
from tests.e2e import truth
from tests.integration.healing.world import START, HealingWorld, Start

DAY = Span(START, START + 86_400 * 1_000_000)
FAULTS = [
    {"kind": "failed_pushes", "probability": 0.1},
    {"kind": "stale_pushes", "probability": 0.1},
    {"kind": "address_tables", "probability": 0.1},
    {"kind": "shared_transactions", "probability": 0.1},
]


async def a_history(start: Start, hours: int) -> HealingWorld:
    """A node with history at the cadence of sponsored feeds, one print a minute and feed."""
    world = await start(push_every=60.0, faults=FAULTS, requests=100_000, method_requests=100_000)
    await world.clock.advance(hours * 3_600)
    await world.node.stop_pushing()
    return world


async def backfill(world: HealingWorld, span: Span, *, dry_run: bool = False) -> list[FeedReport]:
    """One run of the command's work, in a process of its own as it were."""
    metrics = Metrics([], [], ["node-0"], "test")
    client = RpcClient(world.settings.node, metrics, world.clock, world.wire)
    rows = await read_markets(world.database, [market.symbol for market in world.settings.markets])
    ids = {symbol: row.id for symbol, row in rows.items()}
    reader = chain_reader(client, world.database, ids, world.clock, dry_run=dry_run)
    wanted = [(market, feed) for market in world.settings.markets for feed in market.feeds]
    return await Backfill(reader, world.database, ids, dry_run=dry_run).run(wanted, span)


async def finished(world: HealingWorld, task: asyncio.Task[Any]) -> Any:
    """A task's result; virtual time goes on meanwhile."""
    while not task.done():
        await world.clock.advance(0.05)
        await asyncio.sleep(0.001)
    return task.result()


@pytest.mark.parametrize("hours", [2, pytest.param(24, marks=pytest.mark.slow)])
async def test_history_equals_the_ledger_and_again_changes_nothing(start: Start, hours: int) -> None:
    world = await a_history(start, hours)
    task = asyncio.ensure_future(backfill(world, DAY))
    reports = await finished(world, task)
    stored = await world.assert_table_is_the_ledger()
    assert stored > 3 * 60 * hours * 0.8
    assert sum(report.tally.inserted for report in reports) == stored
    assert all(report.share == 1.0 and report.tally.missing == 0 for report in reports)
    world.wire.requests.clear()
    again = await finished(world, asyncio.ensure_future(backfill(world, DAY)))
    assert sum(report.tally.inserted for report in again) == 0
    assert sum(report.tally.known for report in again) == stored
    # Only pushes that wrote nothing are looked at again.
    stale = Counter(method for _, method in world.wire.requests)["getTransaction"]
    assert stale < stored / 2


async def test_a_backfill_killed_at_twenty_points_asks_for_nothing_twice(start: Start) -> None:
    world = await a_history(start, 3)
    chance = random.Random(5)
    for _ in range(20):
        task = asyncio.ensure_future(backfill(world, DAY))
        for _ in range(chance.randint(1, 20)):
            await world.clock.advance(0.05)
            await asyncio.sleep(0.001)
        if task.done():  # a database so fast that there is nothing left to kill
            break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    else:
        await finished(world, asyncio.ensure_future(backfill(world, DAY)))
    stored = await world.assert_table_is_the_ledger()
    fetched = Counter(method for _, method in world.wire.requests)["getTransaction"]
    pushed = stored * 1.25 + 50  # prints, and the stale pushes among them
    # What was under way at a kill is asked for again: a piece of twenty at most.
    assert fetched <= pushed + 20 * 20
    gaps = await world.fetch("SELECT state, count(*) AS gaps FROM oracle_gaps GROUP BY state")
    assert {row["state"]: row["gaps"] for row in gaps} == {"closed": 3}


async def test_only_the_span_is_read(start: Start) -> None:
    world = await start(push_every=60.0, requests=100_000, method_requests=100_000)
    await world.clock.advance(2.5 * 3_600)
    await world.node.stop_pushing()
    hour = 3_600 * 1_000_000
    span = Span(START + hour // 2, START + 2 * hour)
    await finished(world, asyncio.ensure_future(backfill(world, span)))
    stored = await world.fetch("SELECT created_at FROM oracle_prices")
    lines = truth.ledger_rows(world.ledger)
    expected = [one for one in lines if span.start <= one["publish_time"] * 1_000_000 < span.end]
    assert abs(len(stored) - len(expected)) <= 3  # block times and publish times differ by part of a slot
    fetched = Counter(method for _, method in world.wire.requests)["getTransaction"]
    assert fetched == len(stored)


async def test_a_dry_run_writes_nothing(start: Start) -> None:
    world = await start(push_every=60.0, requests=100_000, method_requests=100_000)
    await world.clock.advance(1_800)
    reports = await finished(world, asyncio.ensure_future(backfill(world, DAY, dry_run=True)))
    assert sum(report.tally.found for report in reports) > 80
    assert await world.fetch("SELECT FROM oracle_prices") == []
    assert await world.fetch("SELECT FROM oracle_gaps") == []


@pytest.mark.parametrize(
    ("covered", "left"),
    [
        ((0, 10), []),
        ((2, 5), [(0, 2), (5, 10)]),
        ((0, 5), [(5, 10)]),
        ((5, 20), [(0, 5)]),
        ((20, 30), [(0, 10)]),
    ],
)
def test_what_is_left_of_a_span(covered: tuple[int, int], left: list[tuple[int, int]]) -> None:
    assert without(Span(0, 10), Span(*covered)) == [Span(*part) for part in left]


def test_a_summary_is_json() -> None:
    report = FeedReport("BTC-PERP", "BTC-PERP/core", "account", Span(0, 10))
    summary = summary_of([report], Span(0, 10), requests=1, retries=0, dry_run=False)
    assert json.loads(json.dumps(summary))["feeds"][0]["complete"] is False
