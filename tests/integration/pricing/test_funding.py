"""Funding: every interval settled once, at its boundary, from its own samples, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store import settlement
from quantdesk_oracle.store.database import query
from quantdesk_oracle.workers.estimates import EstimateWorker
from quantdesk_oracle.workers.recompute import settle_missing
from tests.integration.pricing.world import INTERVAL, START, World, a_market

D = Decimal
T = INTERVAL * SECOND


def boundary(number: int) -> int:
    """The end of the ``number``-th interval after the start, µs."""
    return START + number * T


def seconds(rows: list[asyncpg.Record]) -> list[int]:
    """The boundaries of rows, seconds after the start."""
    return [int(row["created_at"].timestamp()) - START // SECOND for row in rows]


async def sample(world: World, at: int, premium: str | None = "0.001", status: str | None = None) -> None:
    """A stored sample of ``at`` (µs), as any daemon may have written it."""
    await world.sql(
        "INSERT INTO premium_samples (market_id, created_at, premium, status, index_price)"
        " VALUES ($1, to_timestamp($2), $3, $4, 10000)",
        world.btc.id,
        at // SECOND,
        None if premium is None else D(premium),
        status or ("used" if premium is not None else "dead"),
    )


async def samples(world: World, number: int, premium: str | None = "0.001", *, count: int = 12) -> None:
    """The first ``count`` samples of the interval that ends at boundary ``number``, and its boundary's print."""
    for place in range(count):
        await sample(world, boundary(number - 1) + place * 5 * SECOND, premium)
    await world.deliver(10_000, boundary(number) - 10 * SECOND)


async def test_an_interval_is_settled_exactly_at_its_boundary_from_its_own_samples(world):
    await world.prove()
    await world.ticks(66)
    await world.settle(boundary(1) + 4_900_000)
    assert await world.rates() == []
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert seconds([row]) == [60]
    assert (row["samples_expected"], row["samples_used"], row["samples_unusable"]) == (12, 12, 0)
    assert (row["status"], row["coverage"], row["premium_index"]) == ("settled", D(1), D(0))
    # Without a book and before any funding: P = 0, F8 = 1 bp, an interval of a minute is 1/480 of eight hours.
    assert row["funding_rate"] == D("0.000000208333")
    assert (row["oracle_price"], row["mark_price"]) == (D(10_000), D(10_000))


async def test_a_sample_on_the_boundary_belongs_to_the_interval_that_begins_there(world):
    await samples(world, 1, "0.001")
    await samples(world, 2, "0.003")
    await world.settle(boundary(2) + 5 * SECOND)
    assert [row["premium_index"] for row in await world.rates()] == [D("0.001"), D("0.003")]


async def test_samples_that_nobody_took_count_as_zero_and_unusable_ones_leave_the_divisor(world):
    for place in range(12):
        if place < 8:
            await sample(world, START + place * 5 * SECOND, "0.001" if place < 6 else None)
    await world.deliver(10_000, boundary(1) - SECOND)
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert row["premium_index"] == D("0.0006")  # 6 · 0.001 / (12 − 2)
    assert (row["samples_used"], row["samples_unusable"], row["coverage"]) == (6, 2, D("0.5"))
    assert row["status"] == "settled"


@pytest.mark.parametrize(
    ("count", "price_at", "reason"),
    [
        (5, boundary(1) - SECOND, "coverage below 0.5: 5 of 12 samples"),
        (12, boundary(1) - 200 * SECOND, "no usable oracle price at the boundary"),
        (12, boundary(1) + SECOND, "no usable oracle price at the boundary"),
    ],
)
async def test_what_was_not_observed_is_not_paid(world, count, price_at, reason):
    await samples(world, 1, count=count)
    await world.sql("DELETE FROM oracle_prices")
    await world.deliver(10_000, price_at)
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert (row["status"], row["funding_rate"], row["reason"]) == ("skipped", 0, reason)
    assert (row["long_size"], row["total_funding"]) == (None, None)
    assert await world.value("SELECT count(*) FROM system_events WHERE event_type = 'funding.skipped'") == 1


@pytest.mark.parametrize("missed", [1, 3, 30])
@pytest.mark.parametrize("daemons", [1, 2])
async def test_missed_boundaries_are_settled_in_order_each_from_its_own_samples(new_world, missed, daemons):
    before = await new_world()
    await samples(before, 1)
    await before.settle(boundary(1) + 5 * SECOND)
    await samples(before, 2, "0.002", count=8)  # then the daemon dies
    back = boundary(1 + missed) + 30 * SECOND
    worlds = [await new_world(start=back) for _ in range(daemons)]
    await asyncio.gather(*(world.settle() for world in worlds))
    rows = await before.rates()
    assert seconds(rows) == [60 * number for number in range(1, missed + 2)]
    late = "late" if missed > 1 else "settled"
    assert [row["status"] for row in rows] == ["settled", late] + ["skipped"] * (missed - 1)
    assert rows[1]["premium_index"] == (D("0.016") / 12).quantize(D("1e-12"))
    assert sum(world.funding.inserted for world in worlds) == missed
    market = (await before.sql("SELECT * FROM markets WHERE symbol = 'BTC-PERP'"))[0]
    assert seconds([{"created_at": market["last_funding_time"]}]) == [60 * (missed + 1)]
    assert market["current_funding_rate"] == rows[-1]["funding_rate"]


@pytest.mark.parametrize("taken", [0, 5, 6, 12])
@pytest.mark.parametrize("back_after", [0, 4, 5, 59])
async def test_wherever_in_an_interval_a_daemon_dies_and_returns_each_boundary_has_its_row(
    new_world, taken, back_after
):
    before = await new_world()
    await samples(before, 1)
    await before.settle(boundary(1) + 5 * SECOND)
    await samples(before, 2, count=taken)  # then it dies
    back = await new_world(start=boundary(4) + back_after * SECOND)
    await back.settle()
    statuses = ["settled", "skipped" if taken < 6 else "late", "skipped", "skipped"]
    rows = await before.rates()
    due = 4 if back_after >= 5 else 3
    assert seconds(rows) == [60 * number for number in range(1, due + 1)]
    assert [row["status"] for row in rows] == statuses[:due]
    await back.settle(boundary(4) + 60 * SECOND)
    rows = await before.rates()
    assert [row["status"] for row in rows] == statuses
    settled = [row["settled_at"] for row in rows]
    assert settled == sorted(settled)


async def test_two_settlers_at_once_write_one_row_and_one_event(new_world):
    first, second = await new_world(), await new_world()
    await samples(first, 1)
    for world in (first, second):
        await world.set_clocks(boundary(1) + 5 * SECOND)
    await asyncio.gather(*(world.settle() for world in (first, second) for _ in range(3)))
    assert len(await first.rates()) == 1
    assert await first.value("SELECT count(*) FROM system_events WHERE event_type = 'funding.computed'") == 1


async def test_a_sample_after_its_settlement_is_late_and_never_used(world):
    await samples(world, 1, count=11)
    await world.settle(boundary(1) + 5 * SECOND)
    (before,) = await world.rates()
    await world.prove(at=boundary(1) - 5 * SECOND)
    await world.set_clocks(boundary(1) + 6 * SECOND)
    await world.mark_worker.tick(boundary(1) - 5 * SECOND)
    await world.written()
    assert await world.value("SELECT count(*) FROM premium_samples WHERE status = 'late'") == 1
    again = await recompute(world, 1)
    assert (again.premium_index, again.samples_used) == (before["premium_index"], before["samples_used"])


async def recompute(world: World, number: int) -> Any:
    parameters = world.btc.parameters_at(boundary(number) - 1)
    interval = settlement.Interval("BTC-PERP", boundary(number), parameters)
    async with world.database.connection("recompute") as connection:
        return await settlement.recompute(
            connection, world.btc.id, interval, dead_after=180 * SECOND, late=False
        )


async def test_a_settled_row_recomputes_to_the_last_digit(world):
    await samples(world, 1, "0.000123456789")
    await world.settle(boundary(1) + 5 * SECOND)
    (row,), again = await world.rates(), await recompute(world, 1)
    for name in ("funding_rate", "premium_index", "premium_sum", "coverage", "input_hash", "samples_used"):
        assert getattr(again, name) == row[name]


async def test_the_estimate_moves_towards_the_rate_and_is_it_when_the_last_sample_is_there(world):
    estimates = EstimateWorker(world.markets, world.database, world.clock)
    await estimates.turn()
    begun = world.btc.estimate
    await samples(world, 1, "0.002", count=6)
    await world.set_clocks(START + 30 * SECOND)
    await estimates.turn()
    half = world.btc.estimate
    for place in range(6, 12):
        await sample(world, START + place * 5 * SECOND, "0.002")
    await world.set_clocks(boundary(1) - 1)
    await estimates.turn()
    whole = world.btc.estimate
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert begun is not None
    assert half is not None
    assert whole is not None
    assert (begun.average.used, half.average.used, whole.average.used) == (0, 6, 12)
    assert (half.boundary, half.at) == (boundary(1), START + 30 * SECOND)
    assert (begun.rate, half.average.premium) == (D("0.000000208333"), D("0.001"))
    assert whole.rate == row["funding_rate"]


# ── Parameters ───────────────────────────────────────────────────────────────────────────────────


async def versions(world: World) -> list[tuple[int, int, dict[str, str]]]:
    rows = await world.sql(
        "SELECT * FROM funding_parameters WHERE market_id = $1 ORDER BY version", world.btc.id
    )
    return [
        (row["version"], *seconds([{"created_at": row["in_force_from"]}]), json.loads(row["parameters"]))
        for row in rows
    ]


async def test_a_change_in_the_middle_of_an_interval_holds_from_the_next_boundary(world):
    await samples(world, 1, "0.5")
    await samples(world, 2, "0.5")
    await world.set_clocks(START + 20 * SECOND)
    await world.settle()
    await world.sql("UPDATE markets SET max_funding_rate = 0.1 WHERE symbol = 'BTC-PERP'")
    await world.settle(START + 40 * SECOND)
    await world.settle(boundary(2) + 5 * SECOND)
    assert [(version, start) for version, start, _ in await versions(world)] == [(1, 0), (2, 60)]
    rows = await world.rates()
    assert [row["parameter_version"] for row in rows] == [1, 2]
    assert rows[0]["funding_rate"] == (D("0.04") / 480).quantize(D("1e-12"))
    assert rows[1]["funding_rate"] == D("0.00001")


@pytest.mark.parametrize(
    ("interval", "starts", "boundaries"),
    [(120, 120, [60, 120, 240]), (30, 60, [60, 90, 120, 150, 180, 210, 240]), (90, 180, [60, 120, 180])],
)
async def test_a_new_interval_starts_where_both_have_a_boundary(world, interval, starts, boundaries):
    await sample(world, START)
    await world.settle(START + 20 * SECOND)
    await world.sql("UPDATE markets SET funding_interval = $1 WHERE symbol = 'BTC-PERP'", interval)
    await world.settle(START + 40 * SECOND)
    assert [start for _, start, _ in await versions(world)] == [0, starts]
    await world.settle(START + 250 * SECOND)
    assert seconds(await world.rates()) == boundaries


async def test_a_wish_that_cannot_be_met_changes_nothing(world):
    await sample(world, START)
    await world.settle(START + 20 * SECOND)
    for pricing in (
        '{"method": "none such"}',
        '{"interest": "NaN"}',
        '{"interst": "1"}',
        '"text"',
        '{"cap": "x"}',
    ):
        await world.sql("UPDATE markets SET metadata = jsonb_build_object('pricing', $1::jsonb)", pricing)
        await world.settle(world.clock.now() + 6 * SECOND)
    assert len(await versions(world)) == 1


async def test_a_market_may_choose_another_method_by_its_row(world):
    await world.sql(
        """UPDATE markets SET metadata = '{"pricing": {"method": "dydx_v4", "cap_factor": "6"}}'"""
    )
    await world.settle(START + 20 * SECOND)
    await world.set_clocks(boundary(1))
    await world.prove()
    await world.order("long", 9_990, 50)
    await world.order("short", 9_995, 50)
    await world.ticks(61)
    await world.settle(boundary(2) + 5 * SECOND)
    row = (await world.rates())[-1]
    assert (row["method"], row["parameter_version"], row["status"]) == ("dydx_v4", 2, "settled")
    assert row["premium_index"] == D("-0.0005")
    assert row["funding_rate"] == (D("-0.0005") / 480).quantize(D("1e-12"))
    marks = await world.sql("SELECT DISTINCT method, mark_price FROM mark_prices")
    assert [tuple(mark) for mark in marks] == [("dydx_v4", D(10_000))]


@pytest.mark.parametrize("method", ["hyperliquid", "binance", "bitmex", "drift"])
async def test_every_method_marks_samples_and_settles(new_world, method):
    world = await new_world(markets=(a_market(method=method),))
    await world.prove()
    await world.order("long", 10_010, 50)
    await world.order("short", 10_012, 50)
    await world.trade(10_011, START)
    await world.ticks(61)
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert (row["method"], row["status"]) == (method, "settled")
    assert row["funding_rate"] > 0
    again = await recompute(world, 1)
    assert (again.funding_rate, again.input_hash) == (row["funding_rate"], row["input_hash"])


# ── Positions, halts, hands ──────────────────────────────────────────────────────────────────────


async def test_the_total_is_of_the_open_positions_at_settlement(world):
    await samples(world, 1, "0.5")
    await world.position("long", 3)
    await world.position("long", "2.5")
    await world.position("short", 4)
    await world.position("long", 100, is_liquidated=True)
    await world.position("short", 100, closed_at="2026-01-01")
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert (row["long_size"], row["short_size"]) == (D("5.5"), D(4))
    assert row["total_funding"] == (D("1.5") * 10_000 * row["funding_rate"]).quantize(D("1e-6"))


async def test_a_market_halted_at_the_boundary_is_skipped_with_its_reason(world):
    await samples(world, 1)
    await world.sql(
        "UPDATE markets SET halted_at = to_timestamp($1), halted_reason = 'upgrade'", START // SECOND + 50
    )
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert (row["status"], row["reason"]) == ("skipped", "halted: upgrade")


async def test_a_rate_set_by_hand_stands_and_becomes_the_markets(world):
    await samples(world, 1)
    await world.sql(
        "INSERT INTO funding_rates (market_id, created_at, funding_rate, funding_type, status, reason, actor,"
        " funding_interval) VALUES ($1, to_timestamp($2), 0.0003, 'manual', 'manual', 'a test', 'me', 60)",
        world.btc.id,
        boundary(1) // SECOND,
    )
    await world.settle(boundary(1) + 5 * SECOND)
    (row,) = await world.rates()
    assert row["funding_rate"] == D("0.0003")
    assert await world.value("SELECT current_funding_rate FROM markets WHERE symbol = 'BTC-PERP'") == D(
        "0.0003"
    )
    assert world.btc.funding_rate == D("0.0003")


async def test_an_interval_waits_for_its_gap_for_ten_minutes_and_is_skipped_then(world):
    await samples(world, 1)
    world.healed = lambda _state, _boundary: False
    await world.settle(boundary(1) + 500 * SECOND)
    assert await world.rates() == []
    await world.settle(boundary(1) + 601 * SECOND)
    row = (await world.rates())[0]
    assert (row["status"], row["funding_rate"], row["reason"].split(":")[0]) == ("skipped", 0, "unhealed")
    assert row["coverage"] == 1


# ── Clocks and crashes ───────────────────────────────────────────────────────────────────────────


async def test_a_daemon_whose_clock_is_ten_minutes_ahead_settles_nothing_of_the_future(world):
    await samples(world, 1)
    await world.set_clocks(START + 600 * SECOND, database=boundary(1) + 5 * SECOND)
    await world.settle()
    assert seconds(await world.rates()) == [60]
    assert await world.value(
        "SELECT last_funding_time FROM markets WHERE symbol = 'BTC-PERP'"
    ) == datetime.fromtimestamp(boundary(1) // SECOND, UTC)
    await samples(world, 2)
    await world.settle(boundary(2) + 5 * SECOND)
    assert seconds(await world.rates()) == [60, 120]


async def test_a_clock_set_back_settles_nothing_twice(world):
    await samples(world, 1)
    await samples(world, 2)
    await world.settle(boundary(2) + 5 * SECOND)
    await world.settle(boundary(2) - 90 * SECOND)
    await world.settle(boundary(2) + 6 * SECOND)
    assert seconds(await world.rates()) == [60, 120]


async def test_a_crash_between_rate_and_market_leaves_neither(world, monkeypatch):
    await samples(world, 1)

    def dying(name: str) -> str:
        return "SELECT 1/0" if name == "set_market_funding" else query(name)

    monkeypatch.setattr(settlement, "query", dying)
    with pytest.raises(DatabaseError):
        await world.settle(boundary(1) + 5 * SECOND)
    assert await world.rates() == []
    assert await world.value("SELECT last_funding_time FROM markets WHERE symbol = 'BTC-PERP'") is None
    monkeypatch.undo()
    await world.settle()
    assert [row["status"] for row in await world.rates()] == ["settled"]


async def recomputed(world: World, *, until: int, dry_run: bool = False) -> Any:
    return await settle_missing(
        world.database,
        world.btc,
        boundary(-5),
        until,
        now=until,
        settle_delay=5 * SECOND,
        late_after=60 * SECOND,
        dry_run=dry_run,
    )


async def test_what_has_no_rate_is_settled_on_request_in_order_and_once(world):
    await samples(world, 1)
    await samples(world, 2, count=2)
    await samples(world, 3)
    await world.written()
    await world.set_clocks(boundary(6))
    dry = await recomputed(world, until=boundary(4), dry_run=True)
    assert (dry.settled, await world.rates()) == ({"missing": 3}, [])
    done = await recomputed(world, until=boundary(4))
    rows = await world.rates()
    assert seconds(rows) == [60, 120, 180]  # nothing of before the first sample
    assert [row["status"] for row in rows] == ["late", "skipped", "late"]
    assert done.settled == {"late": 2, "skipped": 1}
    again = await recomputed(world, until=boundary(4))
    assert (again.already_there, again.settled) == (3, {})
    assert await world.rates() == rows
