"""Position health at new marks, with alerts that do not tremble."""

from __future__ import annotations

import textwrap
from decimal import Decimal
from pathlib import Path

import asyncpg

from quantdesk_oracle.store.database import query
from quantdesk_oracle.workers.position_health import PositionHealth
from tests.integration.pricing.world import World

D = Decimal


async def at_mark(world: World, worker: PositionHealth, mark: object) -> None:
    world.btc.mark_price = D(str(mark))
    await worker.refresh(world.btc)


async def position(world: World):
    return (await world.sql("SELECT * FROM positions"))[0]


async def alerts(world: World) -> list[tuple[str, bool]]:
    rows = await world.sql(
        "SELECT alert_type, is_resolved FROM risk_alerts ORDER BY created_at, alert_type DESC"
    )
    return [(row["alert_type"], row["is_resolved"]) for row in rows]


async def test_a_position_is_worth_what_the_mark_says(world):
    await world.sql("UPDATE markets SET maintenance_margin_ratio = 100, initial_margin_ratio = 200")
    await world.position("long", 2)
    worker = PositionHealth(world.markets, world.database, world.journal, world.clock)
    await at_mark(world, worker, 9_800)
    row = await position(world)
    assert (row["current_price"], row["unrealized_pnl"]) == (D(9_800), D(-400))
    assert row["health_factor"] == (D(600) * 100 / D(196)).quantize(D("1e-6"))
    assert row["margin_ratio"] == (D(600) * 100 / D(19_600)).quantize(D("1e-6"))
    # At 19,000 / (2 · 0.99) equity is just the maintenance requirement.
    assert row["liquidation_price"] == (D(19_000) / D("1.98")).quantize(D("1e-12"))
    await at_mark(world, worker, row["liquidation_price"])
    assert abs((await position(world))["health_factor"] - 100) < D("0.001")


async def test_each_level_alerts_once_and_again_only_after_it_was_left(world):
    await world.sql("UPDATE markets SET maintenance_margin_ratio = 100, initial_margin_ratio = 200")
    await world.position("short", 2)
    worker = PositionHealth(world.markets, world.database, world.journal, world.clock)
    await at_mark(world, worker, 10_000)  # health 500
    assert await alerts(world) == []
    for mark in (10_200, 10_195, 10_201, 10_196):  # health around 294, less than 5 % above 300 in between
        await at_mark(world, worker, mark)
    assert await alerts(world) == [("health_300", False)]
    await at_mark(world, worker, 10_420)  # health 77
    assert sorted(await alerts(world)) == [(f"health_{level}", False) for level in (100, 150, 200, 300)]
    await at_mark(world, worker, 10_000)
    assert {resolved for _, resolved in await alerts(world)} == {True}
    await at_mark(world, worker, 10_200)
    assert (await alerts(world)).count(("health_300", False)) == 1
    assert "position.endangered" in await world.event_types()


async def test_closed_and_liquidated_positions_are_left_alone(world):
    await world.position("long", 2, closed_at="2026-01-01")
    await world.position("long", 2, is_liquidated=True)
    worker = PositionHealth(world.markets, world.database, world.journal, world.clock)
    await at_mark(world, worker, 9_600)
    assert await world.value("SELECT count(*) FROM positions WHERE current_price IS NOT NULL") == 0
    assert await alerts(world) == []


async def test_the_rights_that_the_page_names_are_enough(world: World, root: Path) -> None:
    page = (root / "docs/pricing/positions.md").read_text()
    granting = textwrap.dedent(page.partition("as the owner of the schema:")[2].partition("Without these")[0])
    await world.position("long", 2)
    connection = await asyncpg.connect(world.database._dsn)
    async with connection.transaction():
        await connection.execute(granting)
        await connection.execute("SET LOCAL ROLE quantdesk_oracle")
        await connection.execute(query("refresh_positions"), world.btc.id, D(9_500))
        assert len(await connection.fetch(query("raise_risk_alerts"), world.btc.id)) == 4
        price = await connection.fetchval("SELECT current_price FROM positions")
        await connection.execute("RESET ROLE")
        await connection.execute(
            "REVOKE ALL ON risk_alerts FROM quantdesk_oracle;"
            " REVOKE UPDATE (current_price, unrealized_pnl, health_factor, margin_ratio, liquidation_price,"
            " updated_at) ON positions FROM quantdesk_oracle;"
            " DROP POLICY positions_oracle_refresh ON positions; DROP POLICY risk_alerts_oracle ON risk_alerts"
        )
    await connection.close()
    assert price == D(9_500)
