"""History of two daemons recomputes to the last digit, and a digit that is changed is found."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.audit import Audited, audit_funding, audit_marks
from tests.integration.pricing.world import START, World, a_market

D = Decimal
EDGE = D("0.000000000001")
TRADED = [
    ("mark_prices", "mark_price"),
    ("mark_prices", "oracle_price"),
    ("mark_prices", "basis_mean"),
    ("mark_prices", "seconds_to_funding"),
    ("premium_samples", "premium"),
    ("premium_samples", "index_price"),
    ("funding_rates", "funding_rate"),
    ("funding_rates", "premium_index"),
    ("funding_rates", "premium_sum"),
    ("funding_rates", "coverage"),
    ("funding_rates", "oracle_price"),
    ("funding_rates", "mark_price"),
    ("funding_rates", "total_funding"),
]


async def trade_a_while(first: World, second: World, seconds: int) -> None:
    """Two daemons over the same market that moves, the second one seeing every other instant only."""
    dice = random.Random(7)
    price = D(10_000)
    for world in (first, second):
        await world.prove(price, START - 3 * SECOND)
    for number in range(0, seconds, 5):
        instant = START + number * SECOND
        price += D(dice.randrange(-500, 501)) / 100
        for world in (first, second):
            await world.set_clocks(instant)
            await world.deliver(price, instant)
        await first.sql("DELETE FROM orders")
        if number % 60 != 25:
            middle = price + D(dice.randrange(-2_000, 2_001)) / 100
            await first.order("long", middle - 1, 50)
            await first.order("short", middle + 1, 50 if number % 20 else "0.001")
            await first.trade(middle, instant)
        for world in (first, second) if number % 10 else (second, first):
            await world.tick(instant)
        if number % 60 == 10:
            for world in (first, second):
                await world.settle()
    for world in (first, second):
        await world.settle(START + seconds * SECOND)


async def audited(world: World, seconds: int) -> tuple[Audited, Audited]:
    span = START, START + seconds * SECOND
    return (
        await audit_marks(world.database, world.btc.id, *span),
        await audit_funding(world.database, world.btc.id, *span),
    )


@pytest.mark.parametrize(
    ("method", "seconds"),
    [
        ("quantdesk", 190),
        pytest.param("quantdesk", 3_610, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
        ("hyperliquid", 130),
        *(
            pytest.param(name, 130, marks=pytest.mark.slow)
            for name in ("binance", "bitmex", "dydx_v4", "drift")
        ),
    ],
)
async def test_what_two_daemons_wrote_recomputes_to_the_last_digit(new_world, method, seconds):
    first, second = [await new_world(markets=(a_market(method=method),)) for _ in range(2)]
    await first.position("long", 3)
    await trade_a_while(first, second, seconds)
    marks, rates = await audited(first, seconds)
    assert (marks.differences, rates.differences) == ((), ())
    assert marks.rows == seconds // 5
    assert rates.rows == seconds // 60
    assert first.marks.inserted > 0
    assert second.marks.inserted > 0


async def test_every_digit_that_is_changed_is_found(new_world):
    first, second = await new_world(), await new_world()
    await first.position("long", 3)
    await trade_a_while(first, second, 130)
    for table, column in TRADED:
        changed = f"SET {column} = {column} {{}} {EDGE}"
        which = f"WHERE market_id = $1 AND {column} IS NOT NULL AND created_at = (SELECT min(created_at) FROM {table}"
        which += f" WHERE {column} IS NOT NULL AND created_at >= to_timestamp({START // SECOND + 20}))"
        if table == "mark_prices":
            which += " AND basis_count > 0"
        await first.sql(f"UPDATE {table} {changed.format('-')} {which}", first.btc.id)
        marks, rates = await audited(first, 130)
        assert len(marks.differences) + len(rates.differences) >= 1, (table, column)
        await first.sql(f"UPDATE {table} {changed.format('+')} {which}", first.btc.id)
    marks, rates = await audited(first, 130)
    assert (marks.differences, rates.differences) == ((), ())


async def test_rates_whose_samples_have_expired_are_checked_against_themselves(new_world):
    first, second = await new_world(), await new_world()
    await trade_a_while(first, second, 130)
    await first.sql("DELETE FROM premium_samples")
    await first.sql("DELETE FROM mark_prices")
    _, rates = await audited(first, 130)
    assert (rates.expired, rates.differences) == (2, ())
    await first.sql("UPDATE funding_rates SET premium_index = premium_index + 0.001")
    _, rates = await audited(first, 130)
    assert len(rates.differences) == 2


async def test_a_rate_by_hand_is_counted_and_not_recomputed(world):
    await world.sql(
        "INSERT INTO funding_rates (market_id, created_at, funding_rate, funding_type, status, reason, actor)"
        " VALUES ($1, to_timestamp($2), 0.0003, 'emergency', 'manual', 'a test', 'me')",
        world.btc.id,
        START // SECOND + 60,
    )
    _, rates = await audited(world, 130)
    assert (rates.rows, rates.by_hand, rates.differences) == (0, 1, ())
