"""The status page's past of a market: settled rates and a day's coverage, read when they are out of date."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.gaps import CLOSED, FeedKey, Gap, open_gap, save_gap
from quantdesk_oracle.workers.past import AGAIN, PART, PARTS, RATES, SOON, Past, PastWorker, SettledRate
from tests.integration.pricing.world import START, SYMBOL, World

HOUR = 3_600 * SECOND
KEY = FeedKey(SYMBOL, "7" * 44)


@pytest.fixture
async def world(world: World) -> AsyncIterator[World]:
    """As the others' world, without gaps, in the middle of a part."""
    await world.sql("DELETE FROM oracle_gaps")
    await world.set_clocks(START + PART // 2)
    yield world
    await world.sql("DELETE FROM oracle_gaps")


async def looked(world: World) -> Past:
    """What is held once the worker has gone round."""
    worker = PastWorker(world.markets, world.database, world.clock)
    world.clock.sleep = world.clock.sleep_until = _at_once  # type: ignore[method-assign]
    await worker.round()
    return world.btc.past


async def _at_once(_: object) -> None:
    """The worker's pause between two markets."""


async def settled(world: World, hours: int, rate: str, reason: str | None = None) -> int:
    """A row of the interval that ended so many hours after the start; its boundary, µs."""
    boundary = START + hours * HOUR
    await world.sql(
        "INSERT INTO funding_rates (market_id, created_at, funding_rate, status, reason)"
        " VALUES ($1, to_timestamp($2), $3, $4, $5)",
        world.btc.id,
        boundary // SECOND,
        Decimal(rate),
        "skipped" if reason else "settled",
        reason,
    )
    return boundary


async def test_settled_rates_are_held_oldest_first_with_what_became_of_each(world):
    await settled(world, -2, "0.0000125")
    await settled(world, -1, "0", "no usable print")
    await settled(world, 0, "-0.00002")
    assert (await looked(world)).rates == (
        SettledRate((START - 2 * HOUR) // SECOND, Decimal("0.0000125"), "settled", None),
        SettledRate((START - HOUR) // SECOND, Decimal(0), "skipped", "no usable print"),
        SettledRate(START // SECOND, Decimal("-0.00002"), "settled", None),
    )


async def test_no_more_rates_are_held_than_are_drawn(world):
    for hours in range(-RATES - 3, 1):
        await settled(world, hours, "0.0001")
    rates = (await looked(world)).rates
    assert len(rates) == RATES
    assert rates[-1].boundary == START // SECOND


async def test_a_day_is_covered_quarter_by_quarter(world):
    for quarters in (96, 50, 49, 20, 1):
        await world.deliver(10_000, START - quarters * PART + 61 * SECOND)
    for state, quarters in ((CLOSED, 50), ("open", 49)):
        start = START - quarters * PART
        gap = Gap(KEY, "start", start + SECOND, start + 9 * SECOND)
        noted = await open_gap(world.database, world.markets.ids, gap)
        assert noted is not None
        await save_gap(world.database, replace(noted, state=state))
    covered = (await looked(world)).coverage
    assert covered is not None
    assert (covered.start, covered.end) == ((START - 95 * PART) // SECOND, (START + PART) // SECOND)
    expected = ["e"] * PARTS
    for quarters, letter in ((50, "h"), (49, "o"), (20, "p"), (1, "p")):
        expected[95 - quarters] = letter
    assert covered.parts == "".join(expected)


async def test_a_print_of_another_teams_writer_covers_nothing(world):
    await world.sql(
        "INSERT INTO oracle_prices (market_id, price, confidence, exponent, created_at)"
        " VALUES ($1, 1, 0.1, -8, to_timestamp($2))",
        world.btc.id,
        START // SECOND - 60,
    )
    covered = (await looked(world)).coverage
    assert covered is not None
    assert set(covered.parts) == {"e"}


async def test_a_market_without_a_print_just_now_is_read_again_soon(world):
    first = await looked(world)
    await world.deliver(10_000, world.clock.now())
    world.clock.set(world.clock.now() + SOON - 1)
    second = await looked(world)
    world.clock.set(world.clock.now() + 1)
    third = await looked(world)
    assert [past.coverage.parts[-1] for past in (first, second, third)] == ["e", "e", "p"]


async def test_it_is_read_again_when_a_minute_is_over_or_an_interval_is_settled_and_not_before(world):
    await world.deliver(10_000, world.clock.now())
    first = await looked(world)
    world.btc.last_funding = await settled(world, 0, "0.0001")
    second = await looked(world)
    await settled(world, -1, "0.0002")
    third = await looked(world)
    world.clock.set(world.clock.now() + AGAIN)
    assert [len(past.rates) for past in (first, second, third, await looked(world))] == [0, 1, 1, 2]
