"""History of two daemons recomputes to the last digit, and a digit that is changed is found."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.audit import Audited, audit_funding, audit_marks
from tests.integration.pricing.world import START, World, a_market

D = Decimal
LEFT_OUT = {
    # who it is of and when: a row that has moved is another row, or none
    ("*", "market_id"),
    ("*", "created_at"),
    # what a result, recomputed from inputs, does not depend on
    ("funding_rates", "settled_at"),
    ("funding_rates", "funding_type"),  # one by hand is counted, and not recomputed
    ("funding_rates", "actor"),
    ("funding_rates", "reason"),
    ("mark_prices", "ema_state"),
}
CHANGES = {
    "numeric": "{0} + 0.000000000001 * CASE WHEN {0} >= 1 THEN -1 ELSE 1 END",
    "integer": "{0} + 1",
    "bigint": "{0} + 1",
    "timestamp with time zone": "{0} + interval '1 second'",
    "text": "{text}",
}
TEXTS = {
    "status": "CASE {} WHEN 'fresh' THEN 'stale' WHEN 'settled' THEN 'late' ELSE 'stale' END",
    "method": "'binance'",
    "input_hash": "reverse({})",
}
OLDEST = {
    "mark_prices": "basis_count > 0 AND last_trade_price IS NOT NULL",
    "premium_samples": "impact_ask > 0",
}


async def trade_a_while(first: World, second: World, seconds: int, *, since: int = 0) -> None:
    """Two daemons over the same market that moves, each the first at every other instant."""
    dice = random.Random(7 + since)
    price = D(10_000)
    if since == 0:
        for world in (first, second):
            await world.prove(price, START - 3 * SECOND)
    for number in range(since, since + seconds, 5):
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
            await settle(first, second)
    for world in (first, second):
        await world.set_clocks(START + (since + seconds) * SECOND)
    await settle(first, second)


async def settle(*worlds: World) -> None:
    """Whatever is due; a daemon with rows on disk would wait for them, ten minutes at most, and lets the other one."""
    for world in worlds:
        if world.backlog is None or world.backlog.rows == 0:
            await world.settle()


@pytest.mark.parametrize(
    "seconds", [250, pytest.param(3_610, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_what_one_daemon_wrote_and_another_one_spooled_and_drained_late_recomputes(
    new_world, tmp_path, seconds
):
    first, second = await new_world(), await new_world(spool=tmp_path)
    await first.position("long", 3)
    await trade_a_while(first, second, 60)
    second.refusing, first.may_write = True, False
    # For a while the second daemon alone computes, and nothing of it is taken; then the first one goes on too.
    await trade_a_while(first, second, 65, since=60)
    first.may_write = True
    await trade_a_while(first, second, seconds - 130, since=125)
    assert second.backlog.rows > 20
    second.refusing = False
    await second.drain()
    assert second.backlog.rows == 0
    await trade_a_while(first, second, 5, since=seconds - 5)
    marks, rates = await audited(first, seconds)
    assert (marks.differences, rates.differences) == ((), ())
    assert marks.rows == seconds // 5
    assert rates.rows == seconds // 60
    assert await first.value("SELECT count(*) FROM premium_samples WHERE status = 'late'") >= 1
    (unobserved,) = await first.sql("SELECT * FROM funding_rates WHERE status = 'skipped'")
    assert unobserved["created_at"].timestamp() == START // SECOND + 120


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


async def columns(world: World, table: str) -> list[tuple[str, str]]:
    rows = await world.sql(
        "SELECT column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position",
        table,
    )
    left_out = {name for of, name in LEFT_OUT if of in ("*", table)}
    return [(name, kind) for name, kind in rows if name not in left_out]


def change(column: str, kind: str) -> str:
    return CHANGES.get(kind, "").format(column, text=TEXTS.get(column, "").format(column))


async def oldest_of(world: World, table: str, column: str) -> str | None:
    """Which row to change, as a condition: the first that holds something, of those that say most."""
    if table == "oracle_prices":
        return "created_at = (SELECT min(oracle_publish_time) FROM mark_prices)"
    for held in (OLDEST.get(table, "true"), "true"):
        oldest = f"(SELECT min(created_at) FROM {table} WHERE {column} IS NOT NULL AND {held})"
        if await world.value(f"SELECT {oldest}") is not None:
            return f"created_at = {oldest}"
    return None  # a column that holds nothing: method quantdesk has no moving averages


@pytest.mark.parametrize("table", ["mark_prices", "premium_samples", "funding_rates", "oracle_prices"])
async def test_every_digit_that_is_changed_is_found(new_world, table):
    first, second = await new_world(), await new_world()
    await first.position("long", 3)
    await trade_a_while(first, second, 130)
    unnoticed = []
    checked = [("price", "numeric")] if table == "oracle_prices" else await columns(first, table)
    await first.sql(f"CREATE TABLE before AS SELECT * FROM {table}")
    try:
        for column, kind in checked:
            if (which := await oldest_of(first, table, column)) is None:
                continue
            await first.sql(f"UPDATE {table} SET {column} = {change(column, kind)} WHERE {which}")
            marks, rates = await audited(first, 130)
            if not marks.differences and not rates.differences:
                unnoticed.append(column)
            await first.sql(f"DELETE FROM {table}")
            await first.sql(f"INSERT INTO {table} SELECT * FROM before")
    finally:
        await first.sql("DROP TABLE before")
    assert unnoticed == []
    marks, rates = await audited(first, 130)
    assert (marks.differences, rates.differences) == ((), ())


async def test_an_interval_that_was_skipped_for_its_gap_is_no_difference(world):
    world.healed = lambda _state, _boundary: False
    await world.prove()
    await world.ticks(61)
    await world.settle(START + 665 * SECOND)
    assert (await audited(world, 60))[1].differences == ()
    await world.sql("UPDATE funding_rates SET reason = 'none'")
    _, rates = await audited(world, 60)
    assert "status" in [each.column for each in rates.differences]


async def test_a_parameter_that_is_changed_where_it_stands_is_found(world):
    await world.prove()
    await world.ticks(61)
    await world.settle(START + 65 * SECOND)
    assert (await audited(world, 60))[1].differences == ()
    await world.sql(
        "UPDATE funding_parameters SET parameters = jsonb_set(parameters::jsonb, '{cap}', '\"0.040000000001\"')"
    )
    _, rates = await audited(world, 60)
    assert [each.column for each in rates.differences] == ["input_hash"]


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
