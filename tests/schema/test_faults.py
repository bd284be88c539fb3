"""The fifteen faults of the schemas in circulation, by number (design: the core schema, § 4): this one has none."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from tests.schema.support import (
    FIXTURES,
    SCHEMA,
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

PRIVATE = (
    "users user_balances positions orders trades liquidations insurance_fund user_stats auctions auction_quotes"
    " auction_settlements system_events risk_alerts admin_users admin_audit_logs"
)
RIGHT = "42501"
CHECK = "23514"


async def test_fault_1_every_series_is_partitioned_and_its_keys_hold_its_time(owner: Any) -> None:
    rows = await owner.fetch("""
        SELECT s.table_name, c.relkind::text AS kind,
               (SELECT bool_and(pg_get_indexdef(i.indexrelid) ~ 'created_at') FROM pg_index AS i
                WHERE i.indrelid = c.oid AND i.indisunique) AS timely
        FROM time_series AS s JOIN pg_class AS c ON c.oid = to_regclass('public.' || s.table_name)
    """)
    assert len(rows) == 6
    partitioned = await owner.fetchval("SELECT CASE schema_mode() WHEN 'plain' THEN 'p' ELSE 'r' END")
    assert all(row["kind"] == partitioned and row["timely"] for row in rows)
    if partitioned == "r":
        hypertables = await owner.fetch(
            "SELECT hypertable_name::text FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public'"
        )
        assert {row["table_name"] for row in rows} == {row[0] for row in hypertables}


async def test_fault_2_a_user_writes_nothing_of_his_own(owner: Any) -> None:
    user, market = await new_user(owner, "mine"), await market_of(owner)
    await owner.execute("INSERT INTO user_balances (user_id, asset, balance) VALUES ($1, 'USDC', 1)", user)
    await new_position(owner, user, market)
    await owner.execute(
        "INSERT INTO trades (user_id, market_id, side, size, price) VALUES ($1, $2, 'buy', 1, 1)",
        user,
        market,
    )
    async with acting(owner, "authenticated", "mine"):
        assert await owner.fetchval("SELECT count(*) FROM user_balances") == 1
        for statement in (
            "UPDATE user_balances SET balance = 999999",
            f"SELECT update_user_balance('{user}', 'USDC', 1000)",
            "UPDATE users SET kyc_status = 'verified'",
            "UPDATE positions SET margin = 1000000, realized_pnl = 1000000",
            f"INSERT INTO trades (user_id, market_id, side, size, price) VALUES ('{user}', '{market}', 'buy', 1, 1)",
            "DELETE FROM trades",
        ):
            assert await refused(owner, statement) == RIGHT, statement


@pytest.mark.parametrize("table", PRIVATE.split())
async def test_fault_3_anon_has_no_way_into_a_private_table(owner: Any, table: str) -> None:
    assert await owner.fetchval(f"SELECT relrowsecurity FROM pg_class WHERE oid = '{table}'::regclass")
    async with acting(owner, "anon"):
        for statement in (
            f"SELECT * FROM {table}",
            f"INSERT INTO {table} DEFAULT VALUES",
            f"UPDATE {table} SET created_at = now()",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            assert await refused(owner, statement) == RIGHT, statement


async def test_fault_4_views_show_each_user_his_own(owner: Any) -> None:
    market = await market_of(owner)
    for wallet in ("one", "two"):
        await new_position(owner, await new_user(owner, wallet), market)
    for view in ("active_positions", "user_portfolio"):
        async with acting(owner, "authenticated", "one"):
            seen = await owner.fetch(f"SELECT wallet_address FROM {view}")
            assert [row["wallet_address"] for row in seen] == ["one"]
        async with acting(owner, "authenticated"):
            assert await owner.fetch(f"SELECT * FROM {view}") == []
        async with acting(owner, "anon"):
            assert await refused(owner, f"SELECT * FROM {view}") == RIGHT


async def test_fault_5_calculate_funding_rate_answers(owner: Any) -> None:
    assert await owner.fetchval("SELECT calculate_funding_rate($1)", await market_of(owner)) == Decimal(
        "0.0000125"
    )


@pytest.mark.parametrize(("margin", "leverage"), [(100, 1000), (1000, 100)])
async def test_fault_6_a_healthy_position_is_not_liquidatable(owner: Any, margin: int, leverage: int) -> None:
    market = await market_of(owner)
    position = await new_position(owner, await new_user(owner, "w"), market, margin=margin, leverage=leverage)
    await mark(owner, market, 100)
    assert not await owner.fetchval("SELECT check_liquidation($1)", position)
    assert await owner.fetchval("SELECT risk_level FROM risk_dashboard") == "low"


@pytest.mark.parametrize(
    ("price", "health", "level", "liquidatable"),
    [
        # long 10 at 100, margin 100, maintenance 100 bp: equity = 100 + 10 (p − 100), requirement = p / 10
        (Decimal("90.909090909090"), Decimal("99.99999"), "critical", True),
        (Decimal("90.909090909091"), Decimal("100.00000"), "critical", False),
        (Decimal("91.3"), Decimal("142.387733"), "critical", False),
        (Decimal("91.8"), Decimal("196.078431"), "high", False),
        (Decimal("92.5"), Decimal("270.270270"), "medium", False),
        (Decimal("100"), Decimal("1000"), "low", False),
    ],
)
async def test_fault_6_thresholds_fit_the_formula(
    owner: Any, price: Decimal, health: Decimal, level: str, liquidatable: bool
) -> None:
    market = await market_of(owner)
    position = await new_position(owner, await new_user(owner, "w"), market)
    await mark(owner, market, price)
    found = await owner.fetchval("SELECT calculate_position_health($1)", position)
    assert abs(found - health) < Decimal("0.00002")
    assert await owner.fetchval("SELECT risk_level FROM risk_dashboard") == level
    assert await owner.fetchval("SELECT check_liquidation($1)", position) == (found <= 100)
    if abs(found - 100) > Decimal("0.00002"):
        assert (found <= 100) == liquidatable


async def test_fault_6_exactly_one_hundred_is_liquidatable(owner: Any) -> None:
    market = await market_of(owner)
    position = await new_position(owner, await new_user(owner, "w"), market, margin=1, size=1)
    await mark(owner, market, 100)
    assert await owner.fetchval("SELECT calculate_position_health($1)", position) == 100
    assert await owner.fetchval("SELECT check_liquidation($1)", position)


async def test_fault_7_functions_answer_for_every_input(owner: Any) -> None:
    market, user = await market_of(owner), await new_user(owner, "w")
    nobody = "00000000-0000-0000-0000-00000000dead"
    empty = await new_position(owner, user, market, size=0)
    unpriced = await new_position(owner, user, await market_of(owner, "ETH-PERP"))
    await mark(owner, market, 100)
    for position in (nobody, empty, unpriced):
        assert await owner.fetchval("SELECT calculate_position_health($1)", position) is None
        assert await owner.fetchval("SELECT check_liquidation($1)", position) is False
    assert await owner.fetchval("SELECT calculate_funding_rate($1)", nobody) is None
    enormous = await new_position(owner, user, market, margin=10**20, size=Decimal("1e-12"))
    assert await owner.fetchval("SELECT calculate_position_health($1)", enormous) == 10**34


async def test_fault_7_a_stale_price_is_no_price(owner: Any) -> None:
    market = await market_of(owner)
    position = await new_position(owner, await new_user(owner, "w"), market)
    await mark(owner, market, 50, age=61)
    assert await owner.fetchval("SELECT calculate_position_health($1)", position) is None
    assert not await owner.fetchval("SELECT check_liquidation($1)", position)
    row = await owner.fetchrow("SELECT current_price, unrealized_pnl, health_factor FROM active_positions")
    assert tuple(row) == (None, None, None)
    assert await owner.fetchval("SELECT risk_level FROM risk_dashboard") == "unknown"


async def test_fault_8_money_and_positions_are_counted_once(owner: Any) -> None:
    market, user = await market_of(owner), await new_user(owner, "w")
    for asset in ("USDC", "SOL"):
        await owner.execute(
            "INSERT INTO user_balances (user_id, asset, balance) VALUES ($1, $2, 100)", user, asset
        )
    for _ in range(3):
        await new_position(owner, user, market)
    await mark(owner, market, 101)
    row = await owner.fetchrow("SELECT * FROM user_portfolio")
    assert (row["total_balance"], row["active_positions"], row["total_unrealized_pnl"]) == (200, 3, 30)


async def test_fault_9_no_debit_below_zero(owner: Any) -> None:
    user = await new_user(owner, "w")
    debit = f"SELECT update_user_balance('{user}', 'USDC', -4000)"
    assert await refused(owner, debit) == CHECK
    await owner.execute(f"SELECT update_user_balance('{user}', 'USDC', 3999.99)")
    assert await refused(owner, debit) == CHECK


async def test_fault_9_debits_at_once_do_not_pass_zero_together(database: Database) -> None:
    user = await new_user(database.owner, "w")
    await database.owner.execute("SELECT update_user_balance($1, 'USDC', 100)", user)

    async def debit() -> bool:
        connection = await asyncpg.connect(database.dsn)
        try:
            await connection.execute("SELECT update_user_balance($1, 'USDC', -30)", user)
        except asyncpg.CheckViolationError:
            return False
        else:
            return True
        finally:
            await connection.close()

    assert sum(await asyncio.gather(*(debit() for _ in range(8)))) == 3
    assert await database.owner.fetchval("SELECT balance FROM user_balances") == 10


async def test_fault_9_impossible_values_are_refused(owner: Any) -> None:
    market, user = await market_of(owner), await new_user(owner, "w")
    good: dict[str, Any] = {"side": "long", "size": 1, "entry_price": 1, "margin": 1, "leverage": 1}
    for wrong in ({"size": -1}, {"entry_price": 0}, {"margin": -1}, {"leverage": 0}):
        with pytest.raises(asyncpg.CheckViolationError):
            async with owner.transaction():
                await insert(owner, "positions", user_id=user, market_id=market, **(good | wrong))
    order: dict[str, Any] = {"order_type": "limit", "side": "long", "size": 1, "price": 1, "leverage": 1}
    for wrong in ({"size": 0}, {"price": -1}, {"leverage": 0}, {"filled_size": 2}, {"price": None}):
        with pytest.raises(asyncpg.CheckViolationError):
            async with owner.transaction():
                await insert(owner, "orders", user_id=user, market_id=market, **(order | wrong))
    for table, column, row in (
        ("positions", "position_account", good),
        ("orders", "order_account", order),
    ):
        await insert(owner, table, user_id=user, market_id=market, **{column: "same"}, **row)
        with pytest.raises(asyncpg.UniqueViolationError):
            async with owner.transaction():
                await insert(owner, table, user_id=user, market_id=market, **{column: "same"}, **row)
    assert await refused(owner, "UPDATE insurance_fund SET balance = -1000000") == CHECK


async def test_fault_10_an_order_without_expiry_is_pending(owner: Any) -> None:
    market, user = await market_of(owner), await new_user(owner, "w")
    for expires in ("NULL", "now() + interval '1 hour'", "now() - interval '1 hour'"):
        await owner.execute(
            "INSERT INTO orders (user_id, market_id, order_type, side, size, price, expires_at)"
            f" VALUES ($1, $2, 'limit', 'long', 1, 1, {expires})",
            user,
            market,
        )
    assert await owner.fetchval("SELECT count(*) FROM pending_orders") == 2
    assert await owner.fetchval("SELECT size FROM order_book") == 2


async def test_fault_11_a_second_run_is_silent_and_adds_no_fund(server: Server, database: Database) -> None:
    again = server.psql(database.name, "-1", "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "production-schema.sql")
    assert "ERROR" not in again.stderr
    assert await database.owner.fetchval("SELECT count(*) FROM insurance_fund") == 3
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.owner.execute("INSERT INTO insurance_fund (market_id) SELECT id FROM markets")


async def test_fault_12_the_test_script_leaves_nothing_behind(server: Server, database: Database) -> None:
    async def rows() -> dict[str, int]:
        names = await database.owner.fetch(
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
        )
        return {r["name"]: await database.owner.fetchval(f"SELECT count(*) FROM {r['name']}") for r in names}

    before, slot = await rows(), "SELECT last_value FROM oracle_prices_external_slot"
    given = await database.owner.fetchval(slot)
    server.psql(database.name, "-f", SCHEMA / "test-schema.sql")
    assert await rows() == before
    assert await database.owner.fetchval(slot) == given


async def test_fault_13_a_migration_fails_at_nothing_and_repeats(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "generation_a.sql")
    for _ in range(2):
        done = server.psql(empty.name, "-f", SCHEMA / "migration-to-production.sql")
        assert done.stderr == ""
    server.psql(empty.name, "-f", SCHEMA / "test-schema.sql")


async def test_fault_14_ten_decimals_are_kept(owner: Any) -> None:
    price = Decimal("0.0000123457")
    await owner.execute(
        "INSERT INTO oracle_prices (market_id, price, confidence, exponent) VALUES ($1, $2, $3, -10)",
        await market_of(owner),
        price,
        Decimal("0.0000000123"),
    )
    row = await owner.fetchrow("SELECT price, confidence FROM oracle_prices")
    assert tuple(row) == (price, Decimal("0.0000000123"))


async def test_fault_15_every_active_market_has_a_real_oracle_account(owner: Any) -> None:
    rows = await owner.fetch("SELECT symbol, oracle_account FROM markets WHERE is_active ORDER BY symbol")
    assert {row["symbol"]: row["oracle_account"] for row in rows} == {
        "BTC-PERP": "APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5",
        "ETH-PERP": "7odryi4WfoMFHtv2eubdMgP1pqQMmdiXSK1N2tqZ2nRH",
        "SOL-PERP": "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE",
    }
    assert (
        await refused(owner, "INSERT INTO markets (symbol, base_asset, quote_asset) VALUES ('X', 'X', 'Y')")
        == CHECK
    )
