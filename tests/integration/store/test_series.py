"""What the daemon writes, on real servers: exact, once, never of the future."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import asyncpg
import pytest

from quantdesk_oracle.model import SECOND, Event, PriceUpdate, Severity
from quantdesk_oracle.pricing.funding import FundingParameters
from quantdesk_oracle.pricing.settlement import Interval
from quantdesk_oracle.store import series
from quantdesk_oracle.store.database import Database, RowFaultError, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp
from quantdesk_oracle.store.settlement import settle
from tests.integration.store.conftest import Markets
from tests.rows import PUBLISHED, a_mark, a_print, a_sample

I64, U64 = 2**63 - 1, 2**64 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def test_a_print_is_stored_exactly_whatever_its_exponent(database: Database, markets: Markets) -> None:
    # The widest integers of Pyth's fields, which numeric(38,12) holds at every exponent.
    values = {"confidence": I64, "ema_price": -I64, "ema_confidence": U64}
    rows = [
        a_print(number, slot=1_000 - exponent, exponent=exponent, price=price, **values)
        for exponent in range(-12, 1)
        for number, price in enumerate((I64, I64 - 1, 1))
    ]
    assert await series.insert_oracle_prices(database, markets, rows) == 39
    async with database.connection("cannot read") as connection:
        stored = await connection.fetch("SELECT * FROM oracle_prices")
    found = {
        (
            r["created_at"],
            r["slot"],
            r["exponent"],
            r["price"],
            r["confidence"],
            r["ema_price"],
            r["ema_confidence"],
        )
        for r in stored
    }
    assert found == {exactly(row.update) for row in rows}


def exactly(update: PriceUpdate) -> tuple[object, ...]:
    with localcontext() as context:
        context.prec = 60
        raw = (update.price, update.confidence, update.ema_price, update.ema_confidence)
        scaled = [Decimal(each).scaleb(update.exponent) for each in raw]
    return (EPOCH + timedelta(seconds=update.publish_time), update.slot, update.exponent, *scaled)


async def test_an_ema_of_zero_is_null(database: Database, markets: Markets) -> None:
    await series.insert_oracle_prices(database, markets, [a_print(ema_price=0, ema_confidence=5)])
    async with database.connection("cannot read") as connection:
        row = await connection.fetchrow("SELECT ema_price, ema_confidence FROM oracle_prices")
    assert tuple(row) == (None, None)


async def test_a_print_is_stored_once_however_often_it_comes(database: Database, markets: Markets) -> None:
    rows = [a_print(n) for n in range(5)]
    assert await series.insert_oracle_prices(database, markets, rows) == 5
    assert await series.insert_oracle_prices(database, markets, [*rows, a_print(5), a_print(5)]) == 1


async def test_two_prints_of_one_second_are_two_rows(database: Database, markets: Markets) -> None:
    rows = [a_print(0, slot=7), a_print(0, slot=8)]
    assert await series.insert_oracle_prices(database, markets, rows) == 2


async def test_a_row_that_cannot_be_stored_is_at_fault_itself(database: Database, markets: Markets) -> None:
    faults = {
        "unknown market": a_print(market="NO-SUCH-PERP"),
        "exponent without a scale": a_print(exponent=-13),
        "price of zero": a_print(price=0),
        "overflow of a column": a_print(slot=2**63),
        "a year that no timestamp has": a_print(publish_time=2**60),
    }
    for row in faults.values():
        with pytest.raises(RowFaultError, match="cannot store oracle prices"):
            await series.insert_oracle_prices(database, markets, [row])


async def test_marks_are_never_of_the_future(database: Database, markets: Markets, past: int) -> None:
    now = await series.database_clock(database)
    rows = [a_mark(past), a_mark(now + 60 * SECOND), a_mark(now + 3600 * SECOND)]
    assert await series.insert_mark_prices(database, markets, rows) == 1
    assert set(await series.marks_at(database, markets, past)) == {"BTC-PERP"}
    assert await series.marks_at(database, markets, rows[1].instant) == {}


async def test_the_first_mark_of_an_instant_stands(database: Database, markets: Markets, past: int) -> None:
    first, second = a_mark(past), a_mark(past, mark_price=Decimal(1), index_price=Decimal(2))
    assert await series.insert_mark_prices(database, markets, [first]) == 1
    assert await series.insert_mark_prices(database, markets, [second]) == 0
    stored = (await series.marks_at(database, markets, past))["BTC-PERP"]
    assert (stored.mark_price, stored.index_price) == (first.mark_price, first.index_price)


async def test_samples_are_never_of_the_future(database: Database, markets: Markets) -> None:
    now = await series.database_clock(database)
    assert await series.insert_premium_samples(database, markets, [a_sample(now + 60 * SECOND)]) == 0


async def test_events_are_stored_once(database: Database) -> None:
    event = Event("daemon.started", Severity.INFO, PUBLISHED * SECOND, {"n": 1}, "BTC-PERP")
    assert await series.insert_system_events(database, [event]) == 1
    assert await series.insert_system_events(database, [event, Event("x.y", Severity.ERROR, 5)]) == 1
    async with database.connection("cannot read") as connection:
        rows = await connection.fetch(
            "SELECT event_type, severity::text, market_id FROM system_events ORDER BY 1"
        )
    assert [(row[0], row[1], row[2] is None) for row in rows] == [
        ("daemon.started", "info", False),
        ("x.y", "error", True),
    ]


async def test_an_event_of_an_unknown_market_keeps_no_market(database: Database) -> None:
    assert await series.insert_system_events(database, [Event("a.b", Severity.INFO, 5, {}, "NO-SUCH")]) == 1


async def settled(database: Database, markets: Markets, boundary: int) -> bool:
    interval = Interval("BTC-PERP", boundary, FundingParameters(interval=60, max_rate=Decimal("0.04")))
    rate = await settle(
        database, markets["BTC-PERP"], interval, dead_after=180 * SECOND, late_after=3600 * SECOND
    )
    return rate is not None


async def statuses(database: Database) -> list[str]:
    async with database.connection("cannot read") as connection:
        rows = await connection.fetch("SELECT status FROM premium_samples ORDER BY created_at")
    return [row["status"] for row in rows]


async def test_a_sample_after_its_settlement_is_late(database: Database, markets: Markets, past: int) -> None:
    assert await settled(database, markets, past)
    rows = [a_sample(past - 5 * SECOND), a_sample(past)]
    assert await series.insert_premium_samples(database, markets, rows) == 2
    assert await statuses(database) == ["late", "used"], "the sample on the boundary is the next interval's"


async def test_an_interval_is_settled_once_by_however_many(
    database: Database, markets: Markets, past: int
) -> None:
    assert sorted(await asyncio.gather(*[settled(database, markets, past) for _ in range(4)])) == [
        False, False, False, True,
    ]  # fmt: skip


async def test_a_sample_that_waits_for_a_settlement_is_late(
    database: Database, markets: Markets, past: int, fresh_dsn: str
) -> None:
    """Two connections in a real race: the settlement holds the market, the sample waits, and must see the outcome."""
    settlement = await asyncpg.connect(fresh_dsn)
    try:
        transaction = settlement.transaction()
        await transaction.start()
        await settlement.fetchrow(query("settlement_state"), markets["BTC-PERP"])
        sampling = asyncio.create_task(
            series.insert_premium_samples(database, markets, [a_sample(past - 5 * SECOND)])
        )
        await until_somebody_waits(settlement)
        await settlement.execute(
            "INSERT INTO funding_rates (market_id, created_at, funding_rate, funding_interval)"
            " VALUES ($1, $2, 0, 60)",
            markets["BTC-PERP"],
            to_timestamp(past),
        )
        await transaction.commit()
        assert await sampling == 1
    finally:
        await settlement.close()
    assert await statuses(database) == ["late"]


async def test_a_settlement_that_waits_for_a_sample_counts_it(
    database: Database, markets: Markets, past: int, fresh_dsn: str
) -> None:
    sampler = await asyncpg.connect(fresh_dsn)
    try:
        transaction = sampler.transaction()
        await transaction.start()
        await sampler.execute(query("hold_markets"), [markets["BTC-PERP"]])
        settling = asyncio.create_task(settled(database, markets, past))
        await until_somebody_waits(sampler)
        await sampler.execute(
            "INSERT INTO premium_samples (market_id, created_at, premium, status) VALUES ($1, $2, 0.1, 'used')",
            markets["BTC-PERP"],
            to_timestamp(past - 5 * SECOND),
        )
        await transaction.commit()
        assert await settling
    finally:
        await sampler.close()
    async with database.connection("cannot read") as connection:
        assert await connection.fetchval("SELECT samples_used FROM funding_rates") == 1


async def until_somebody_waits(connection: asyncpg.Connection) -> None:
    """Until another backend of this database waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.02)


async def test_an_instant_comes_back_from_the_database_as_it_went(database: Database) -> None:
    instants = [0, 1, 999_999, SECOND, 1_769_860_800_123_457, 2**53 - 1, -1]
    async with database.connection("cannot read") as connection:
        rows = await connection.fetch(
            "SELECT t, timestamptz 'epoch' + i * interval '1 microsecond'"
            " FROM unnest($1::timestamptz[], $2::bigint[]) AS x (t, i)",
            [to_timestamp(instant) for instant in instants],
            instants,
        )
    assert [(to_instant(row[0]), to_instant(row[1])) for row in rows] == [(i, i) for i in instants]


async def test_upkeep_may_be_called_at_any_time(database: Database) -> None:
    await series.upkeep(database)
    assert await series.upkeep(database) == []
