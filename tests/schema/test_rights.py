"""Who may do what, for every table and every command, from the catalogue: a new table cannot be forgotten."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.schema.support import Database, acting, insert, market_of, new_position, new_user, refused

RIGHT = "42501"
PUBLIC = {
    "markets",
    "oracle_prices",
    "oracle_price_heads",
    "mark_prices",
    "mark_price_heads",
    "funding_rates",
    "market_stats",
    "candle_rollups",
    "candles",
    "unfolded_candles",
    "latest_oracle_prices",
    "latest_mark_prices",
    "order_book",
    "market_summary",
}
OWN = {"users", "user_balances", "positions", "orders", "trades", "liquidations", "user_stats", "risk_alerts"}
OWN_VIEWS = {"active_positions", "pending_orders", "user_portfolio"}
BOOKKEEPING = {"oracle_watermarks", "oracle_gaps", "daemon_instances"}
"""The daemon's own tables, which it reads, adds to and changes."""
DAEMON_READS = PUBLIC | {
    "positions",
    "orders",
    "trades",
    "premium_samples",
    "funding_parameters",
    "system_events",
    "schema_version",
    "schema_settings",
    "time_series",
    "oracle_watermarks",
    "oracle_gaps",
    "daemon_instances",
}
DAEMON_INSERTS = {
    "daemon_instances",
    "oracle_watermarks",
    "oracle_gaps",
    "markets",
    "funding_parameters",
    "oracle_prices",
    "oracle_price_heads",
    "mark_prices",
    "mark_price_heads",
    "premium_samples",
    "funding_rates",
    "system_events",
}
BACKEND_KEEPS = {
    "schema_version",
    "schema_settings",
    "time_series",
    "statistics_due",
    "candle_rollups",
    "candle_progress",
}


async def _public(owner: Any) -> set[str]:
    """What everybody may read; under the Timescale licence the continuous aggregates that candles reads, too."""
    if await owner.fetchval("SELECT schema_mode()") != "timescale":
        return PUBLIC
    return PUBLIC | {"candles_1m", "candles_1h", "candles_1d"}


async def _relations(owner: Any) -> list[tuple[str, str]]:
    rows = await owner.fetch("""
        SELECT relname::text AS name, relkind::text AS kind FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'partitions'::regnamespace) AND relkind IN ('r', 'p', 'v', 'm')
        ORDER BY 1
    """)
    assert len(rows) > 30
    return [(row["name"], row["kind"]) for row in rows]


async def _allowed(owner: Any, role: str) -> dict[str, set[str]]:
    """Every command on every table, view and partition that the role may use, tried by the server's own check."""
    rows = await owner.fetch(
        """
        SELECT c.relname::text AS name, command
        FROM pg_class AS c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
            AS command
        WHERE c.relnamespace IN ('public'::regnamespace, 'partitions'::regnamespace)
          AND c.relkind IN ('r', 'p', 'v', 'm')
          AND (has_table_privilege($1, c.oid, command)
               OR command IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                  AND has_any_column_privilege($1, c.oid, command))
        """,
        role,
    )
    allowed: dict[str, set[str]] = {}
    for row in rows:
        allowed.setdefault(row["name"], set()).add(row["command"])
    return allowed


async def test_anon_reads_public_market_data_and_nothing_else(owner: Any) -> None:
    assert await _allowed(owner, "anon") == {name: {"SELECT"} for name in await _public(owner)}


async def test_authenticated_also_reads_its_own_and_writes_nothing(owner: Any) -> None:
    readable = await _public(owner) | OWN | OWN_VIEWS
    assert await _allowed(owner, "authenticated") == {name: {"SELECT"} for name in readable}


async def test_the_daemon_reads_four_tables_and_writes_what_it_produces(owner: Any) -> None:
    allowed = await _allowed(owner, "quantdesk_oracle")
    assert {
        name for name, commands in allowed.items() if "SELECT" in commands
    } == DAEMON_READS | await _public(owner)
    assert {name for name, commands in allowed.items() if "INSERT" in commands} == DAEMON_INSERTS
    assert {name for name, commands in allowed.items() if "UPDATE" in commands} == {
        "markets",
        "oracle_price_heads",
        "mark_price_heads",
        "oracle_watermarks",
        "oracle_gaps",
        "daemon_instances",
    }
    assert all(
        not commands & {"DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"} for commands in allowed.values()
    )


async def test_the_backend_writes_all_but_the_log_and_truncates_nothing(owner: Any) -> None:
    allowed = await _allowed(owner, "service_role")
    assert all(not commands & {"TRUNCATE", "REFERENCES", "TRIGGER"} for commands in allowed.values())
    assert allowed["admin_audit_logs"] == {"SELECT", "INSERT"}
    for table in BACKEND_KEEPS:
        assert allowed.get(table, {"SELECT"}) == {"SELECT"}
    assert allowed["admin_users"] == {"SELECT", "INSERT", "UPDATE", "DELETE"}


async def test_every_table_that_is_not_public_has_row_security(owner: Any) -> None:
    rows = await owner.fetch("""
        SELECT relname::text AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity ORDER BY 1
    """)
    views = {
        "candles",
        "unfolded_candles",
        "latest_oracle_prices",
        "latest_mark_prices",
        "order_book",
        "market_summary",
    }
    never_personal = {
        "funding_parameters",
        "premium_samples",
        "schema_version",
        "schema_settings",
        "time_series",
        "candle_progress",
    }
    assert {row["name"] for row in rows} == (PUBLIC - views) | never_personal


async def test_every_policy_is_for_one_role_and_only_the_backend_has_all_commands(owner: Any) -> None:
    rows = await owner.fetch("SELECT tablename, policyname, cmd, roles::text[] AS roles FROM pg_policies")
    assert len(rows) > 20
    for row in rows:
        assert len(row["roles"]) == 1
        assert row["roles"] != ["public"]
        its_own = row["tablename"] in ("oracle_watermarks", "oracle_gaps", "daemon_instances") and row[
            "roles"
        ] == ["quantdesk_oracle"]
        assert row["cmd"] in ("SELECT", "INSERT") or row["roles"] == ["service_role"] or its_own


async def test_a_user_sees_exactly_his_own_rows_of_every_table_of_his(owner: Any) -> None:
    market = await market_of(owner)
    for wallet in ("one", "two"):
        await _everything_of(owner, wallet, market)
    for table in sorted(OWN):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 2
        async with acting(owner, "authenticated", "one"):
            column = "id" if table == "users" else "user_id"
            seen = await owner.fetch(f"SELECT {column} = current_user_id() AS own FROM {table}")
            assert [row["own"] for row in seen] == [True], table
        for claims in (None, "nobody", "' OR true --"):
            async with acting(owner, "authenticated", claims):
                assert await owner.fetch(f"SELECT * FROM {table}") == [], table


async def _everything_of(owner: Any, wallet: str, market: Any) -> None:
    user = await new_user(owner, wallet)
    position = await new_position(owner, user, market)
    await insert(owner, "user_balances", user_id=user, asset="USDC", balance=1)
    await insert(
        owner, "orders", user_id=user, market_id=market, order_type="limit", side="long", size=1, price=1
    )
    await insert(owner, "trades", user_id=user, market_id=market, side="buy", size=1, price=1)
    await owner.execute(
        "INSERT INTO liquidations (user_id, market_id, position_id, liquidator_address, liquidation_type,"
        " liquidated_size, liquidation_price) VALUES ($1, $2, $3, 'x', 'market', 1, 1)",
        user,
        market,
        position,
    )
    await owner.execute("INSERT INTO user_stats (user_id, date) VALUES ($1, '2026-01-01')", user)
    await owner.execute(
        "INSERT INTO risk_alerts (user_id, market_id, alert_type, severity, message) VALUES ($1, $2, 'x', 'low', 'x')",
        user,
        market,
    )


async def test_the_views_of_everybody_hold_no_id_of_anybody(owner: Any) -> None:
    rows = await owner.fetch("""
        SELECT c.relname::text AS view, a.attname::text AS name, c.relowner::regrole::text AS owner
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.oid IN ('order_book'::regclass, 'market_summary'::regclass)
    """)
    assert {row["owner"] for row in rows} == {"quantdesk_views"}
    names = {(row["view"], row["name"]) for row in rows}
    assert not {name for _, name in names} & {"user_id", "order_id", "position_id", "wallet_address"}
    assert ("order_book", "id") not in names
    assert (
        await owner.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = 'quantdesk_views'"
        )
    ) == (
        False,
        False,
        False,
    )


async def test_all_other_views_run_with_the_rights_of_who_asks(owner: Any) -> None:
    rows = await owner.fetch("""
        SELECT relname::text AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
          AND NOT coalesce(reloptions @> ARRAY['security_invoker=true'], false) ORDER BY 1
    """)
    aggregates = await _public(owner) - PUBLIC
    assert {row["name"] for row in rows} == {"market_summary", "order_book"} | aggregates


async def test_public_executes_nothing_and_definers_have_a_fixed_search_path(owner: Any) -> None:
    rows = await owner.fetch("""
        SELECT p.oid::regprocedure::text AS name, p.prosecdef AS definer,
               coalesce(array_to_string(p.proconfig, ','), '') AS config,
               has_function_privilege('anon', p.oid, 'EXECUTE') AS anon,
               EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
                       WHERE a.grantee = 0) AS public
        FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    """)
    assert len(rows) > 30
    assert [row["name"] for row in rows if row["public"]] == []
    assert {row["name"] for row in rows if row["anon"]} == {"schema_setting(text)", "candles_folded_until()"}
    assert [
        row["name"] for row in rows if row["definer"] and "search_path=pg_catalog" not in row["config"]
    ] == []


async def test_the_daemons_role_can_do_the_daemons_work(owner: Any) -> None:
    market = await market_of(owner)
    async with acting(owner, "quantdesk_oracle"):
        for statement in (
            (
                "INSERT INTO oracle_prices (market_id, price, exponent, slot, source, verdict)"
                " VALUES ($1, 1, -8, 1, 'poll', 'accepted')"
            ),
            "INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price) VALUES ($1, now(), 1, 1)",
            "INSERT INTO premium_samples (market_id, created_at, premium) VALUES ($1, now(), 0)",
            "INSERT INTO funding_rates (market_id, created_at, funding_rate) VALUES ($1, now(), 0)",
            "INSERT INTO system_events (event_type, market_id) VALUES ('x', $1)",
            (
                "INSERT INTO funding_parameters (market_id, version, in_force_from, method)"
                " VALUES ($1, 1, now(), 'quantdesk')"
            ),
            "SELECT 1 FROM markets WHERE id = $1 FOR UPDATE",
            "UPDATE markets SET current_funding_rate = 0, last_funding_time = now() WHERE id = $1",
            "SELECT calculate_funding_rate($1)",
        ):
            assert await refused(owner, statement, market) == "", statement
        new = (
            "INSERT INTO markets (symbol, base_asset, quote_asset, program_id, oracle_account, funding_interval)"
            " VALUES ('X', 'X', 'Y', 'p', 'o', 30)"
        )
        for statement in (
            new,
            "SELECT upkeep()",
            "SELECT refresh_statistics()",
            "SELECT * FROM upkeep_due()",
        ):
            assert await refused(owner, statement) == "", statement
        for statement in (
            "UPDATE markets SET max_leverage = 1",
            "SELECT upkeep_at(now())",
            "SELECT update_user_balance(NULL, '', 1)",
        ):
            assert await refused(owner, statement) == RIGHT, statement


@pytest.mark.parametrize("default", ["ALL", "SELECT"])
async def test_supabases_default_privileges_reach_no_table_and_no_partition(
    empty: Database, default: str
) -> None:
    from quantdesk_oracle.store import schema

    await empty.owner.execute(
        f"ALTER DEFAULT PRIVILEGES GRANT {default} ON TABLES TO anon, authenticated;"
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO anon, authenticated;"
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO anon, authenticated"
    )
    await schema.apply(empty.owner)
    await empty.owner.execute("SELECT upkeep_at(now() + interval '60 days')")
    public = await _public(empty.owner)
    assert await _allowed(empty.owner, "anon") == {name: {"SELECT"} for name in public}
    sequences = await empty.owner.fetch("""
        SELECT seqrelid::regclass FROM pg_sequence JOIN pg_class AS c ON c.oid = seqrelid
        WHERE c.relnamespace = 'public'::regnamespace
            AND has_sequence_privilege('anon', seqrelid, 'SELECT, UPDATE, USAGE')
    """)
    assert sequences == []
    anon = await empty.owner.fetch("""
        SELECT proname FROM pg_proc AS p
        WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('anon', oid, 'EXECUTE')
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    """)
    assert {row["proname"] for row in anon} == {"schema_setting", "candles_folded_until"}


async def test_a_real_login_of_the_daemon_has_the_rights_of_its_role(database: Database) -> None:
    role = f"daemon_{database.name}"
    await database.owner.execute(f"CREATE ROLE {role} LOGIN IN ROLE quantdesk_oracle")
    connection = await asyncpg.connect(
        database.dsn.replace("postgres:@", f"{role}@").replace("postgres@", f"{role}@")
    )
    try:
        assert await connection.fetchval("SELECT current_user") == role
        assert await connection.fetchval("SELECT count(*) FROM markets") == 3
        assert await refused(connection, "SELECT * FROM user_balances") == RIGHT
        await connection.execute("INSERT INTO system_events (event_type) VALUES ('daemon.started')")
        assert await connection.fetchval("SELECT count(*) FROM system_events") == 1
    finally:
        await connection.close()
        await database.owner.execute(f"DROP ROLE {role}")
