"""What tables, triggers and functions do: heads, candles, statistics, auctions, audit, funding."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantdesk_oracle.model import PremiumSample
from quantdesk_oracle.pricing.funding import FundingParameters, average_premium, funding_rate
from tests.schema.support import (
    Database,
    Server,
    acting,
    insert,
    mark,
    market_of,
    new_position,
    new_user,
    refused,
)

START = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)


async def _print(
    owner: Any,
    market: Any,
    seconds: float,
    slot: int,
    price: Any,
    verdict: str | None = "accepted",
    source: str = "poll",
) -> None:
    await owner.execute(
        "INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)"
        " VALUES ($1, $2, $3, $4, -8, $5, $6)",
        market,
        START + timedelta(seconds=seconds),
        slot,
        price,
        source,
        verdict,
    )


async def _candle(owner: Any, resolution: str = "1m") -> list[tuple[Any, ...]]:
    rows = await owner.fetch(
        "SELECT bucket, open, high, low, close, n FROM candles WHERE resolution = $1 ORDER BY bucket",
        resolution,
    )
    return [(row[0], *(int(value) for value in row[1:])) for row in rows]


async def test_heads_only_move_forward_and_only_by_usable_prints_of_ours(owner: Any) -> None:
    market = await market_of(owner)
    head = "SELECT price FROM latest_oracle_prices"
    for seconds, slot, price, verdict, source, expected in (
        (10, 5, 100, "accepted", "poll", 100),
        (5, 9, 90, "accepted", "chain", 100),
        (10, 6, 101, "wide", "poll", 101),
        (20, 7, 500, "quarantined", "poll", 101),
        (30, 8, 600, None, "external", 101),
    ):
        await _print(owner, market, seconds, slot, price, verdict, source)
        assert await owner.fetchval(head) == expected
    await owner.execute("DELETE FROM oracle_prices WHERE slot = 6")
    assert await owner.fetchval(head) == 101


async def test_latest_views_say_how_old_and_whether_usable(owner: Any) -> None:
    market = await market_of(owner)
    for age, usable in ((200, False), (30, True)):
        await owner.execute(
            "INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)"
            " VALUES ($1, now() - make_interval(secs => $2), 1, 5, -8, 'poll', 'accepted')",
            market,
            age,
        )
        row = await owner.fetchrow("SELECT age, usable, symbol FROM latest_oracle_prices")
        assert tuple(row) == (timedelta(seconds=age), usable, "BTC-PERP")
    await owner.execute("UPDATE markets SET halted_at = now() WHERE id = $1", market)
    assert not await owner.fetchval("SELECT usable FROM latest_oracle_prices")


async def test_latest_views_read_a_few_buffers(owner: Any) -> None:
    market = await market_of(owner)
    await _print(owner, market, 0, 1, 100)
    await mark(owner, market, 100)
    for view in ("latest_oracle_prices", "latest_mark_prices"):
        await owner.fetch(f"SELECT * FROM {view} WHERE symbol = 'BTC-PERP'")
        explained = json.loads(
            await owner.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {view} WHERE symbol = 'BTC-PERP'"
            )
        )[0]["Plan"]
        assert explained["Shared Hit Blocks"] + explained["Shared Read Blocks"] <= 10


async def test_candles_are_exact_whatever_the_order_of_arrival(owner: Any) -> None:
    market = await market_of(owner)
    for seconds, slot, price in (
        (30, 3, 105),
        (59, 9, 95),
        (0, 1, 100),
        (60, 10, 200),
        (0, 2, 101),
        (59, 8, 120),
    ):
        await _print(owner, market, seconds, slot, price)
    await _print(owner, market, 31, 4, 9999, "quarantined")
    assert await _candle(owner) == [
        (START, 100, 120, 95, 95, 5),
        (START + timedelta(minutes=1), 200, 200, 200, 200, 1),
    ]
    assert await _candle(owner, "1h") == [(START, 100, 200, 95, 200, 6)]
    assert await _candle(owner, "1d") == [(START.replace(hour=0), 100, 200, 95, 200, 6)]


async def test_candles_of_other_writers_stand_only_where_there_are_none_of_ours(owner: Any) -> None:
    market = await market_of(owner)
    await _print(owner, market, 5, -5, 777, None, "external")
    await _print(owner, market, 65, -6, 778, None, "external")
    assert [row[1] for row in await _candle(owner)] == [777, 778]
    await _print(owner, market, 10, 1, 100)
    assert [row[1] for row in await _candle(owner)] == [100, 778]


async def test_corrections_of_prints_correct_their_candles(owner: Any) -> None:
    market = await market_of(owner)
    now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
    for n, price in enumerate((100, 900, 110)):
        await owner.execute(
            "INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)"
            " VALUES ($1, $2, $3, $4, -8, 'poll', 'accepted')",
            market,
            now + timedelta(seconds=n),
            n + 1,
            price,
        )
    await owner.execute("UPDATE oracle_prices SET verdict = 'quarantined' WHERE price = 900")
    assert await _candle(owner) == [(now, 100, 110, 100, 110, 2)]
    await owner.execute("DELETE FROM oracle_prices WHERE price = 110")
    assert await _candle(owner) == [(now, 100, 100, 100, 100, 1)]


async def test_candles_equal_an_aggregate_over_the_prints(owner: Any) -> None:
    market = await market_of(owner)
    for part in range(5):
        await owner.execute(
            """
            INSERT INTO oracle_prices (market_id, created_at, slot, price, exponent, source, verdict)
            SELECT $1, $2::timestamptz + (hashtext(n::text || 'a') % 90000) * interval '1 second', n,
                   100 + hashtext(n::text) % 50, -8, 'poll',
                   (ARRAY['accepted', 'wide', 'quarantined'])[1 + n % 3]::oracle_verdict
            FROM generate_series($3::int, $3::int + 400) AS n
            """,
            market,
            START,
            part * 500,
        )
    for resolution, width in (("1m", "1 minute"), ("1h", "1 hour"), ("1d", "1 day")):
        wrong = await owner.fetchval(
            f"""
            WITH expected AS (
                SELECT date_bin('{width}', created_at, '2000-01-01Z') AS bucket,
                       (array_agg(price ORDER BY created_at, slot))[1] AS open, max(price) AS high, min(price) AS low,
                       (array_agg(price ORDER BY created_at DESC, slot DESC))[1] AS close, count(*) AS n
                FROM oracle_prices WHERE verdict <> 'quarantined' GROUP BY 1)
            SELECT count(*) FROM expected FULL JOIN
                (SELECT * FROM candles WHERE resolution = $1) AS c USING (bucket, open, high, low, close, n)
            WHERE expected IS NULL OR c IS NULL
            """,
            resolution,
        )
        assert wrong == 0


async def test_statements_of_other_teams_keep_working(owner: Any) -> None:
    market = await market_of(owner)
    async with acting(owner, "service_role"):
        for columns, values in (("", ""), (", created_at", ", now()"), (", created_at", ", now()")):
            await owner.execute(
                f"INSERT INTO oracle_prices (market_id, price, confidence, exponent{columns})"
                f" VALUES ($1, 5, 1, -8{values})",
                market,
            )
    rows = await owner.fetch("SELECT slot, source::text AS source FROM oracle_prices ORDER BY slot DESC")
    assert len({row["slot"] for row in rows}) == 3
    assert all(row["slot"] < 0 and row["source"] == "external" for row in rows)


async def test_statistics_are_recomputed_for_the_days_of_late_rows(owner: Any) -> None:
    market, user = await market_of(owner), await new_user(owner, "w")
    day = "SELECT volume, trades_count, open_price FROM market_stats WHERE date = '2026-11-02' AND market_id = $1"
    trade = (
        "INSERT INTO trades (user_id, market_id, side, size, price, fees, created_at)"
        " VALUES ($1, $2, 'buy', 2, 10, 1, $3)"
    )
    await owner.execute(trade, user, market, START)
    await _print(owner, market, 0, 1, 100)
    await owner.fetchval("SELECT refresh_statistics()")
    assert tuple(await owner.fetchrow(day, market)) == (2, 1, 100)
    await owner.execute(trade, user, market, START + timedelta(hours=1))
    await _print(owner, market, -60, 1, 99)
    assert await owner.fetchval("SELECT refresh_statistics()") == 3
    assert tuple(await owner.fetchrow(day, market)) == (4, 2, 99)
    row = await owner.fetchrow(
        "SELECT total_volume, total_volume_usd, trades_count, fees_paid FROM user_stats WHERE user_id = $1",
        user,
    )
    assert tuple(row) == (4, 40, 2, 2)
    await owner.execute("DELETE FROM trades")
    await owner.fetchval("SELECT refresh_statistics()")
    assert await owner.fetchval("SELECT trades_count FROM user_stats WHERE user_id = $1", user) == 0
    assert await owner.fetchval("SELECT refresh_statistics()") == 2


async def test_statistics_do_not_forget_a_day_whose_prints_are_gone(owner: Any) -> None:
    market = await market_of(owner)
    await owner.execute(
        "INSERT INTO market_stats (market_id, date, open_price) VALUES ($1, '2025-01-01', 7)", market
    )
    user = await new_user(owner, "w")
    await insert(
        owner,
        "trades",
        user_id=user,
        market_id=market,
        side="buy",
        size=1,
        price=1,
        created_at=datetime(2025, 1, 1, 5, tzinfo=UTC),
    )
    await owner.fetchval("SELECT refresh_statistics()")
    row = await owner.fetchrow("SELECT open_price, trades_count FROM market_stats WHERE date = '2025-01-01'")
    assert tuple(row) == (7, 1)


async def _auction(
    owner: Any, side: str, size: Any, quotes: list[tuple[str, Any, Any]], expires: str = "-1 second"
) -> Any:
    auction = await owner.fetchval(
        "INSERT INTO auctions (symbol, side, size, reference_price, max_slippage_bps, expires_at)"
        f" VALUES ('BTC-PERP', $1, $2, 100, 100, now() + interval '{expires}') RETURNING id",
        side,
        size,
    )
    for n, (maker, price, quoted) in enumerate(quotes):
        await owner.execute(
            "INSERT INTO auction_quotes (auction_id, maker_id, price, size, created_at)"
            " VALUES ($1, $2, $3, $4, now() - interval '10 seconds' + make_interval(secs => $5))",
            auction,
            maker,
            price,
            quoted,
            n / 1000,
        )
    return auction


async def _settle(owner: Any, auction: Any) -> list[tuple[Any, Any, Any]]:
    rows = await owner.fetch("SELECT maker_id, fill_price, fill_size FROM settle_auction($1)", auction)
    return [(row[0], row[1] if row[1] is None else float(row[1]), float(row[2])) for row in rows]


async def test_an_auction_fills_the_best_quotes_first(owner: Any) -> None:
    quotes = [
        ("dear", 101, 5),
        ("late", 99, 5),
        ("too dear", Decimal("101.01"), 9),
        ("early", 98, 2),
        ("early 2", 98, 1),
    ]
    bought = await _auction(owner, "buy", 9, quotes)
    assert await _settle(owner, bought) == [
        ("early", 98, 2),
        ("early 2", 98, 1),
        ("late", 99, 5),
        ("dear", 101, 1),
    ]
    sold = await _auction(
        owner, "sell", 6, [("low", 99, 5), ("too low", Decimal("98.99"), 9), ("high", 102, 2)]
    )
    assert await _settle(owner, sold) == [("high", 102, 2), ("low", 99, 4)]
    assert await owner.fetchval("SELECT settlement_type::text FROM auctions WHERE id = $1", sold) == "auction"


async def test_what_an_auction_leaves_goes_to_the_fund_as_far_as_it_reaches(owner: Any) -> None:
    await owner.execute(
        "UPDATE insurance_fund SET balance = 250 WHERE market_id = $1", await market_of(owner)
    )
    auction = await _auction(owner, "buy", 5, [("one", 100, 1)])
    assert await _settle(owner, auction) == [("one", 100, 1), (None, 100, 2.5), (None, None, 1.5)]
    assert await _settle(owner, auction) == [("one", 100, 1), (None, 100, 2.5), (None, None, 1.5)]
    fund = await owner.fetchrow(
        "SELECT balance, total_payouts FROM insurance_fund WHERE market_id = $1", await market_of(owner)
    )
    assert tuple(fund) == (0, 250)
    assert (
        await owner.fetchval("SELECT settlement_type::text FROM auctions WHERE id = $1", auction)
        == "insurance_fund"
    )


async def test_an_open_auction_settles_once_its_quotes_fill_it(owner: Any) -> None:
    auction = await _auction(owner, "buy", 2, [("one", 100, 1)], expires="1 hour")
    assert await refused(owner, "SELECT settle_auction($1)", auction) == "55000"
    assert await owner.fetchval("SELECT count(*) FROM auction_settlements") == 0
    await owner.execute(
        "INSERT INTO auction_quotes (auction_id, maker_id, price, size) VALUES ($1, 'two', 100, 9)", auction
    )
    assert await _settle(owner, auction) == [("one", 100, 1), ("two", 100, 1)]
    assert await refused(owner, "SELECT settle_auction(gen_random_uuid())") == "P0002"


async def test_an_auction_settled_twice_at_once_is_settled_once(database: Database) -> None:
    auction = await _auction(database.owner, "buy", 2, [("one", 100, 1), ("two", 100, 1)])
    connections = [await asyncpg.connect(database.dsn) for _ in range(4)]
    settled = await asyncio.gather(*(_settle(connection, auction) for connection in connections))
    for connection in connections:
        await connection.close()
    assert all(each == settled[0] for each in settled)
    assert await database.owner.fetchval("SELECT count(*) FROM auction_settlements") == 2


async def test_decisions_are_audited_and_the_daemons_routine_is_not(owner: Any) -> None:
    market = await market_of(owner)
    await owner.execute("DELETE FROM admin_audit_logs")
    await owner.execute(
        "UPDATE markets SET current_funding_rate = 0.01, last_funding_time = now() WHERE id = $1", market
    )
    assert await owner.fetch("SELECT * FROM admin_audit_logs") == []
    admin = await owner.fetchval(
        "INSERT INTO admin_users (username, email, password_hash) VALUES ('a', 'a@b', 'secret hash') RETURNING id"
    )
    await owner.execute(
        "SELECT set_config('request.jwt.claims', $1, true)", json.dumps({"admin_user_id": str(admin)})
    )
    await owner.execute("SET LOCAL ROLE service_role")
    await owner.execute(
        "UPDATE markets SET max_leverage = 700, current_funding_rate = 0 WHERE id = $1", market
    )
    await owner.execute("UPDATE admin_users SET password_hash = 'another hash'")
    await owner.execute("DELETE FROM insurance_fund WHERE market_id = $1", market)
    await owner.execute("RESET ROLE")
    rows = await owner.fetch(
        "SELECT action, resource, admin_user_id, details FROM admin_audit_logs ORDER BY created_at"
    )
    assert [(row["resource"], row["action"]) for row in rows] == [
        ("admin_users", "insert"),
        ("markets", "update"),
        ("admin_users", "update"),
        ("insurance_fund", "delete"),
    ]
    changed = json.loads(rows[1]["details"])
    assert (changed["before"]["max_leverage"], changed["after"]["max_leverage"]) == (5000, 700)
    assert changed["database_role"] == "service_role"
    assert rows[1]["admin_user_id"] == admin
    assert not any("hash'" in row["details"] or "secret hash" in row["details"] for row in rows)


async def test_an_audit_log_outlives_whoever_it_names(owner: Any) -> None:
    async with acting(owner, "service_role"):
        for statement in (
            "UPDATE admin_audit_logs SET action = 'x'",
            "DELETE FROM admin_audit_logs",
            "TRUNCATE admin_audit_logs",
        ):
            assert await refused(owner, statement) == "42501"


SAMPLES = st.lists(
    st.one_of(st.none(), st.decimals(Decimal("-0.05"), Decimal("0.05"), places=12)), min_size=0, max_size=40
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(premiums=SAMPLES, interval=st.sampled_from([30, 60, 300, 3600]), cap=st.sampled_from([1000, 1, 0]))
def test_calculate_funding_rate_is_the_daemons_method(
    server18: Server, funding_server: Any, premiums: list[Decimal | None], interval: int, cap: int
) -> None:
    premiums = premiums[: interval // 5]
    assert funding_server(premiums, interval, cap) == _daemon(premiums, interval, cap)


def _daemon(premiums: list[Decimal | None], interval: int, cap: int) -> Decimal | None:
    samples = [
        PremiumSample("m", n, premium, "used" if premium is not None else "stale")
        for n, premium in enumerate(premiums)
    ]
    average = average_premium(samples, interval)
    if average.premium is None:
        return None
    return funding_rate(average.premium, FundingParameters(interval=interval, max_rate=Decimal(cap) / 10_000))


@pytest.fixture
def funding_server(server18: Server) -> Any:
    """Asks the database for the rate of an interval with these samples."""

    async def ask(premiums: list[Decimal | None], interval: int, cap: int) -> Any:
        connection = await asyncpg.connect(server18.dsn(server18.template))
        transaction = connection.transaction()
        await transaction.start()
        market = await market_of(connection)
        await connection.execute(
            "UPDATE markets SET funding_interval = $1, max_funding_rate = $2", interval, cap
        )
        await connection.executemany(
            "INSERT INTO premium_samples (market_id, created_at, premium, status) VALUES ($1, $2, $3, $4)",
            [
                (
                    market,
                    START + timedelta(seconds=5 * n),
                    premium,
                    "used" if premium is not None else "stale",
                )
                for n, premium in enumerate(premiums)
            ],
        )
        await connection.execute(
            "INSERT INTO premium_samples (market_id, created_at, premium, status) VALUES ($1, $2, 1, 'late')",
            market,
            START + timedelta(seconds=1),
        )
        rate = await connection.fetchval("SELECT calculate_funding_rate($1, $2)", market, START)
        await transaction.rollback()
        await connection.close()
        return rate

    return lambda *arguments: asyncio.run(ask(*arguments))


async def test_another_method_gives_the_newest_stored_rate(owner: Any) -> None:
    market = await market_of(owner)
    await owner.execute(
        "INSERT INTO funding_parameters (market_id, version, in_force_from, method)"
        " VALUES ($1, 1, now() - interval '1 day', 'dydx_v4')",
        market,
    )
    assert await owner.fetchval("SELECT calculate_funding_rate($1)", market) is None
    for hours, rate in ((2, "0.2"), (1, "0.1")):
        await owner.execute(
            "INSERT INTO funding_rates (market_id, created_at, funding_rate)"
            " VALUES ($1, now() - make_interval(hours => $2), $3)",
            market,
            hours,
            Decimal(rate),
        )
    assert await owner.fetchval("SELECT calculate_funding_rate($1)", market) == Decimal("0.1")


async def test_order_book_and_market_summary_add_up_everybody(owner: Any) -> None:
    market = await market_of(owner)
    for n, wallet in enumerate(("one", "two")):
        user = await new_user(owner, wallet)
        await new_position(owner, user, market, side=("long", "short")[n], size=3 - n)
        for price in (99, 100):
            await insert(
                owner,
                "orders",
                user_id=user,
                market_id=market,
                order_type="limit",
                side="long",
                size=2,
                price=price,
            )
        await insert(owner, "trades", user_id=user, market_id=market, side="buy", size=1, price=10)
    await mark(owner, market, 110)
    async with acting(owner, "anon"):
        book = await owner.fetch(
            "SELECT side::text AS side, price, size, orders FROM order_book ORDER BY price"
        )
        assert [tuple(row) for row in book] == [("long", 99, 4, 2), ("long", 100, 4, 2)]
        row = await owner.fetchrow("SELECT * FROM market_summary WHERE symbol = 'BTC-PERP'")
        assert (row["long_interest"], row["short_interest"], row["active_traders"]) == (3, 2, 2)
        assert (row["total_unrealized_pnl"], row["volume_24h"], row["mark_price"]) == (10, 2, 110)
