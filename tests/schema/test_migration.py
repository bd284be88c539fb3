"""Both earlier generations, with thousands of rows and everything odd that was found: migrated, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import asyncpg
import pytest

from quantdesk_oracle.errors import SchemaError
from quantdesk_oracle.store import schema
from tests.schema.support import FIXTURES, SCHEMA, TIMESCALE, Database, Server

GENERATIONS = {
    "a": ("generation_a.sql",),
    "a_price_feeds": ("generation_a.sql", "generation_a_price_feeds.sql"),
    "b": ("generation_b.sql",),
}
CHAT = ("chat_channels", "chat_messages")


class Migrated(NamedTuple):
    """A migrated database that tests only look at, with what was counted before, and what the migration said."""

    owner: Any
    counts: dict[str, int]
    checksums: dict[str, str]
    done: schema.Migration


@pytest.fixture(params=sorted(GENERATIONS))
def generation(request: pytest.FixtureRequest) -> str:
    """Every earlier generation in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def made() -> Iterator[dict[tuple[Server, str], Any]]:
    """Databases that are made once for all tests of this module, by server and name."""
    databases: dict[tuple[Server, str], Any] = {}
    yield databases
    for (server, _), (name, *_) in databases.items():
        asyncio.run(server.drop(name))


async def _load(server: Server, generation: str) -> str:
    """A new database of an earlier generation, on TimescaleDB with the extension there already."""
    name = await server.create()
    if server.name in TIMESCALE:
        server.psql(name, "-c", "CREATE EXTENSION timescaledb")
        server.psql(name, "-c", "SELECT _timescaledb_functions.stop_background_workers()")
    for file in GENERATIONS[generation]:
        server.psql(name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / file)
    return name


@pytest.fixture
async def earlier(server: Server, generation: str, made: dict[Any, Any]) -> AsyncIterator[Database]:
    """A database of an earlier generation, a copy of one that is made once."""
    if (server, generation) not in made:
        made[server, generation] = (await _load(server, generation),)
    name = await server.create(made[server, generation][0])
    owner = await asyncpg.connect(server.dsn(name))
    yield Database(server, name, owner)
    await owner.close()
    await server.drop(name)


@pytest.fixture
async def migrated(server: Server, generation: str, made: dict[Any, Any]) -> AsyncIterator[Migrated]:
    """A database of an earlier generation after its migration, made once; what a test does to it is rolled back."""
    key = server, f"{generation} migrated"
    if key not in made:
        name = await _load(server, generation)
        made[key] = (name, *await _migrate(server.dsn(name)))
    name, counts, checksums, done = made[key]
    owner = await asyncpg.connect(server.dsn(name))
    transaction = owner.transaction()
    await transaction.start()
    yield Migrated(owner, counts, checksums, done)
    await transaction.rollback()
    await owner.close()


async def _migrate(dsn: str) -> tuple[dict[str, int], dict[str, str], schema.Migration]:
    owner = await asyncpg.connect(dsn)
    counts = await _counts(owner)
    queries = dict(CHECKSUMS)
    if "price_feeds" in counts:
        queries["oracle_prices"] = queries["oracle_prices"].replace("FROM oracle_prices", "FROM price_feeds")
    checksums = await _checksums(owner, queries)
    done = await schema.migrate(owner)
    await owner.close()
    return counts, checksums, done


async def _tables(connection: Any) -> list[str]:
    rows = await connection.fetch("""
        SELECT relname::text AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1
    """)
    return [row["name"] for row in rows]


async def _counts(connection: Any) -> dict[str, int]:
    return {
        name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in await _tables(connection)
    }


async def _rejected(connection: Any) -> dict[str, int]:
    rows = await connection.fetch("SELECT table_name, count(*) AS n FROM migration_rejects GROUP BY 1")
    return {row["table_name"]: row["n"] for row in rows}


async def test_the_catalogue_is_that_of_a_fresh_database(server: Server, earlier: Database) -> None:
    foreign = [name for name in await _tables(earlier.owner) if name in CHAT]
    if foreign:
        await earlier.owner.execute("DROP TABLE chat_messages, chat_channels CASCADE")
    server.psql(earlier.name, "-f", SCHEMA / "migration-to-production.sql")
    migrated = server.dump(earlier.name)
    server.psql(earlier.name, "-f", SCHEMA / "migration-to-production.sql")
    server.psql(earlier.name, "-f", SCHEMA / "production-schema.sql")
    if server.name in TIMESCALE:  # a dump names chunks, and those that a job has compressed meanwhile
        await schema.verify(earlier.owner)
        return
    assert server.dump(earlier.name) == migrated
    assert _without_jwt(migrated) == _without_jwt(server.dump(server.template))


def _without_jwt(dump: str) -> str:
    """The catalogue without the schema auth, which is the server's own where it is there already."""
    kept, skipping = [], False
    for block in dump.split("\n--\n-- Name: "):
        skipping = "Schema: auth" in block.split("\n")[0] or block.startswith(
            ("auth;", "SCHEMA auth", "FUNCTION jwt")
        )
        if not skipping:
            kept.append(block)
    return "\n".join(kept)


async def test_every_row_is_kept(migrated: Migrated) -> None:
    before, done = migrated.counts, migrated.done
    after, rejected = await _counts(migrated.owner), await _rejected(migrated.owner)
    assert sum(before.values()) > 15_000
    for table, rows in before.items():
        now = after["oracle_prices" if table == "price_feeds" else table]
        funds = 0 if table != "insurance_fund" else after["markets"] - (rows - rejected.get(table, 0))
        if table == "admin_audit_logs":  # and a fund made for a market whose own was put aside
            now -= await migrated.owner.fetchval(
                "SELECT count(*) FROM admin_audit_logs WHERE action = 'insert'"
            )
        seeds = 0 if table != "markets" else after["markets"] - rows
        assert now - funds - seeds + rejected.get(table, 0) == rows, table
    assert {moved.table: (moved.before, moved.rejected) for moved in done.tables} == {
        table: (rows, rejected.get(table, 0)) for table, rows in before.items() if table not in CHAT
    }
    assert done.status.current


CHECKSUMS = {
    "users": "SELECT wallet_address, username, total_volume::numeric(20,8), created_at FROM users",
    "positions": "SELECT id, user_id, market_id, side::text, size::numeric(20,8), entry_price::numeric(20,8),"
    " margin::numeric(20,8), leverage, closed_at FROM positions"
    " WHERE size >= 0 AND entry_price > 0 AND margin >= 0 AND leverage > 0",
    "orders": "SELECT id, user_id, order_account, order_type::text, size::numeric(20,8), price::numeric(20,8),"
    " coalesce(filled_size, 0)::numeric(20,8), status::text, expires_at FROM orders"
    " WHERE coalesce(filled_size, 0) <= size AND (order_type NOT IN ('limit', 'post_only') OR price IS NOT NULL)",
    "trades": "SELECT id, user_id, market_id, size::numeric(20,8), price::numeric(20,8), value::numeric(20,8),"
    " fees::numeric(20,8), pnl::numeric(20,8) FROM trades",
    "user_balances": "SELECT id, user_id, asset, balance::numeric(20,8), locked_balance::numeric(20,8)"
    " FROM user_balances WHERE balance >= 0 AND locked_balance <= balance",
    "oracle_prices": "SELECT market_id, created_at, price::numeric(20,8), confidence::numeric(20,8), exponent::int"
    " FROM oracle_prices WHERE price > 0 AND confidence >= 0"
    " AND exponent BETWEEN -18 AND 18 AND created_at <= '2026-01-01'",
    "market_stats": "SELECT id, market_id, date, high_price::numeric(20,8), coalesce(volume, 0)::numeric(20,8)"
    " FROM market_stats",
}


async def _checksums(connection: Any, tables: dict[str, str]) -> dict[str, str]:
    sums = {}
    for table, query in tables.items():
        sums[table] = await connection.fetchval(
            f"SELECT count(*) || ' ' || md5(string_agg(r::text, '|' ORDER BY r::text)) FROM ({query}) AS r"
        )
    return sums


async def test_every_value_is_kept(migrated: Migrated) -> None:
    assert await _checksums(migrated.owner, CHECKSUMS) == migrated.checksums


async def test_a_second_migration_changes_nothing(earlier: Database) -> None:
    await schema.migrate(earlier.owner)
    before = await _counts(earlier.owner)
    again = await schema.migrate(earlier.owner)
    assert (again.tables, again.changes, again.money) == ((), again.changes, again.money)
    assert await _counts(earlier.owner) == before
    await schema.verify(earlier.owner)


async def test_a_dry_run_reports_and_changes_nothing(server: Server, earlier: Database) -> None:
    before = server.dump(earlier.name), await _counts(earlier.owner)
    planned = await schema.migrate(earlier.owner, dry_run=True)
    assert (server.dump(earlier.name), await _counts(earlier.owner)) == before
    done = await schema.migrate(earlier.owner)
    assert planned.tables == done.tables
    assert planned.changes == done.changes > 0


async def test_money_that_cannot_be_taken_over_is_shown(server: Server, earlier: Database) -> None:
    shown = server.psql(earlier.name, "-f", SCHEMA / "migration-to-production.sql").stdout
    assert shown.count("breaks user_balances_balance_check") == 2
    assert shown.count("-4000") == 2
    rows = await earlier.owner.fetch("SELECT row FROM migration_rejects WHERE table_name = 'user_balances'")
    assert len(rows) == 4


async def test_a_failure_halfway_leaves_the_database_as_it_was(server: Server, earlier: Database) -> None:
    await earlier.owner.execute("CREATE TABLE theirs (id int, state order_status)")
    before = server.dump(earlier.name), await _counts(earlier.owner)
    with pytest.raises(SchemaError, match=r"50-finish.*theirs.*nothing was changed"):
        await schema.migrate(earlier.owner)
    assert (server.dump(earlier.name), await _counts(earlier.owner)) == before


async def test_old_prices_are_history_and_never_an_input(migrated: Migrated) -> None:
    odd = await migrated.owner.fetchval(
        "SELECT count(*) FROM oracle_prices WHERE source <> 'external' OR verdict IS NOT NULL"
    )
    assert odd == 0
    assert await migrated.owner.fetch("SELECT * FROM latest_oracle_prices") == []
    assert await migrated.owner.fetchval("SELECT count(*) FROM oracle_prices WHERE slot < 0") > 0
    assert await migrated.owner.fetchval("SELECT count(*) > 0 FROM candles WHERE resolution = '1d'")
    assert {r[0] for r in await migrated.owner.fetch("SELECT DISTINCT status FROM funding_rates")} == {
        "imported"
    }


async def test_placeholders_are_not_active_and_markets_have_their_names(migrated: Migrated) -> None:
    rows = await migrated.owner.fetch("SELECT symbol, is_active FROM markets ORDER BY symbol")
    assert [tuple(row) for row in rows] == [
        ("AVAX-PERP", False),
        ("BTC-PERP", True),
        ("ETH-PERP", True),
        ("SOL-PERP", True),
    ]
    noted = await migrated.owner.fetchval(
        "SELECT count(*) FROM migration_changes WHERE table_name = 'markets'"
    )
    assert noted > 0
    assert await migrated.owner.fetchval("SELECT count(*) FROM insurance_fund") == 4


async def test_history_that_was_migrated_is_not_dropped_behind_the_operators_back(migrated: Migrated) -> None:
    before = await _counts(migrated.owner)
    await migrated.owner.execute("SELECT upkeep()")
    assert await _counts(migrated.owner) == before
    due = (await schema.status(migrated.owner)).due
    assert any(
        "UPDATE time_series SET retention = '90 days' WHERE table_name = 'oracle_prices'" in each
        for each in due
    )
    await migrated.owner.execute(
        "UPDATE time_series SET retention = '90 days' WHERE table_name = 'oracle_prices'"
    )
    await migrated.owner.execute("SELECT upkeep()")
    old = "SELECT count(*) FROM oracle_prices WHERE created_at < now() - interval '98 days'"
    assert await migrated.owner.fetchval(old) == 0


async def test_every_constraint_ends_validated(migrated: Migrated) -> None:
    assert await migrated.owner.fetchval("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == 0


async def test_another_teams_tables_survive_untouched(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "generation_a.sql")
    content = "SELECT md5(string_agg(m::text, '|' ORDER BY m.id)) FROM chat_messages AS m"
    attached = """
        SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'chat%'
        UNION ALL SELECT policyname || coalesce(qual, '') || coalesce(with_check, '')
        FROM pg_policies WHERE tablename LIKE 'chat%'
        UNION ALL SELECT pg_get_triggerdef(oid)
        FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'chat%' AND NOT tgisinternal
        UNION ALL SELECT pg_get_viewdef(oid) FROM pg_class WHERE relname LIKE 'chat_author%' ORDER BY 1
    """
    before = await empty.owner.fetchval(content), await empty.owner.fetch(attached)
    assert len(before[1]) > 8
    await schema.migrate(empty.owner)
    assert (await empty.owner.fetchval(content), await empty.owner.fetch(attached)) == before
    assert await empty.owner.fetchval("SELECT n FROM chat_author_count") == 300
    await empty.owner.execute("UPDATE chat_channels SET name = 'again' WHERE name = 'general'")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await empty.owner.execute("UPDATE chat_channels SET market_id = gen_random_uuid()")


async def test_triggers_and_publications_of_others_on_our_tables_are_put_back(
    server: Server, empty: Database
) -> None:
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "generation_b.sql")
    await empty.owner.execute("""
        CREATE FUNCTION greet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER greet_users AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION greet();
        CREATE PUBLICATION theirs FOR TABLE users, orders;
        CREATE PUBLICATION supabase_realtime FOR TABLE orders;
    """)
    await schema.migrate(empty.owner)
    trigger = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'greet_users'"
    assert "public.users" in await empty.owner.fetchval(trigger)
    published = await empty.owner.fetch("SELECT pubname, tablename FROM pg_publication_tables ORDER BY 1, 2")
    assert ("theirs", "users") in [tuple(row) for row in published]
    assert ("supabase_realtime", "oracle_prices") in [tuple(row) for row in published]
    await schema.verify(empty.owner)


async def test_columns_that_this_schema_has_not_got_are_noted(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "generation_b.sql")
    await schema.migrate(empty.owner)
    row = await empty.owner.fetchrow("SELECT * FROM migration_changes WHERE column_name = 'twitter_handle'")
    assert (row["old_value"], row["table_name"]) == ("@one", "users")


async def test_a_migration_of_an_empty_database_makes_the_schema(server: Server, empty: Database) -> None:
    done = await schema.migrate(empty.owner)
    assert (done.tables, done.from_generation, done.status.current) == ((), "none", True)
