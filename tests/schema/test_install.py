"""Installation: psql and the program make the same catalogue; again changes nothing; a failure leaves nothing."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from quantdesk_oracle.errors import SchemaError
from quantdesk_oracle.store import schema
from quantdesk_oracle.store.sql import PRODUCTION, parts_of
from tests.schema.support import FIXTURES, SCHEMA, Database, Server


async def test_psql_and_the_program_make_the_same_catalogue(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-f", SCHEMA / "production-schema.sql")
    by_psql = server.dump(empty.name)
    other = await server.create()
    connection = await asyncpg.connect(server.dsn(other))
    made = await schema.apply(connection)
    await connection.close()
    assert server.dump(other) == by_psql
    assert made.current
    assert made.mode == (server.name if server.name in ("timescale", "apache") else "plain")
    await server.drop(other)


async def test_a_second_run_says_nothing_and_changes_nothing(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-f", SCHEMA / "production-schema.sql")
    before = server.dump(empty.name), await _rows(empty)
    again = server.psql(empty.name, "-f", SCHEMA / "production-schema.sql")
    assert (again.stdout, again.stderr) == ("", "")
    assert (server.dump(empty.name), await _rows(empty)) == before


async def test_it_installs_in_psqls_strict_mode(server: Server, empty: Database) -> None:
    done = server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "production-schema.sql")
    assert done.stderr == ""


async def test_it_verifies_after_every_kind_of_run(server: Server, empty: Database) -> None:
    for file in (
        "production-schema.sql",
        "production-schema.sql",
        "migration-to-production.sql",
        "test-schema.sql",
    ):
        server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / file)


async def test_two_at_once_make_one_schema(server: Server, empty: Database) -> None:
    connections = [await asyncpg.connect(empty.dsn) for _ in range(3)]
    made = await asyncio.gather(*(schema.apply(connection) for connection in connections))
    assert all(each.current for each in made)
    for connection in connections:
        await connection.close()
    assert await empty.owner.fetchval("SELECT count(*) FROM markets") == 3
    assert await empty.owner.fetchval("SELECT count(*) FROM insurance_fund") == 3


async def test_an_earlier_generation_is_refused_untouched(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "generation_a.sql")
    before = server.dump(empty.name)
    with pytest.raises(SchemaError, match=r"earlier generation.*schema migrate"):
        await schema.apply(empty.owner)
    with pytest.raises(SchemaError, match="quantdesk-oracle schema migrate"):
        await schema.check(empty.owner)
    assert server.psql(empty.name, "-f", SCHEMA / "production-schema.sql", check=False).returncode == 3
    assert server.dump(empty.name) == before


async def test_an_empty_database_names_the_command(empty: Database) -> None:
    with pytest.raises(SchemaError, match="quantdesk-oracle schema apply"):
        await schema.check(empty.owner)
    assert (await schema.status(empty.owner)).generation == "none"


async def test_a_failure_halfway_leaves_nothing(server: Server, empty: Database) -> None:
    await empty.owner.execute("CREATE VIEW candles AS SELECT 1 AS stands_in_the_way")
    before = server.dump(empty.name)
    with pytest.raises(SchemaError, match=r"24-candles\.sql.*nothing was changed"):
        await schema.apply(empty.owner)
    assert server.dump(empty.name) == before


async def test_an_owner_without_superuser_can_install_and_verify(server: Server, empty: Database) -> None:
    role = f"owner_{empty.name}"
    # The roles exist already, as on Supabase; on a server of one's own an administrator makes them once.
    await empty.owner.execute(f"CREATE ROLE {role} LOGIN CREATEROLE")
    await empty.owner.execute(f"ALTER DATABASE {empty.name} OWNER TO {role}")
    await empty.owner.execute(f"GRANT ALL ON SCHEMA public TO {role}")
    name = await _other_database(server, empty.name)
    for wanted in ("anon", "authenticated", "service_role", "quantdesk_oracle", "quantdesk_views"):
        await empty.owner.execute(f"GRANT {wanted} TO {role} WITH ADMIN OPTION")
    await server.drop(name)
    connection = await asyncpg.connect(
        empty.dsn.replace("postgres@", f"{role}@").replace("postgres:@", f"{role}@")
    )
    assert await connection.fetchval("SELECT current_user") == role
    assert (await schema.apply(connection)).current
    assert (await schema.apply(connection)).current
    await schema.verify(connection)
    await connection.close()
    await empty.owner.execute(f"DROP OWNED BY {role} CASCADE; ALTER DATABASE {empty.name} OWNER TO postgres")
    await empty.owner.execute(f"DROP ROLE {role}")


async def test_the_version_is_the_same_everywhere() -> None:
    guard, *_, version = parts_of(PRODUCTION)
    assert f"found > {schema.NEEDED_VERSION} THEN" in guard.sql
    assert f"VALUES ({schema.NEEDED_VERSION}, " in version.sql
    plan = (SCHEMA / "parts/migration/10-plan.sql").read_text()
    assert f"found > {schema.NEEDED_VERSION} THEN" in plan
    assert (
        f"IS DISTINCT FROM {schema.NEEDED_VERSION} THEN" in (SCHEMA / "parts/test/10-begin.sql").read_text()
    )


async def test_every_table_view_column_type_and_function_says_what_it_is(database: Database) -> None:
    missing = await database.owner.fetch("""
        SELECT c.relname AS what FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
          AND obj_description(c.oid) IS NULL
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i') AND c.relkind = 'S')
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
        UNION ALL
        SELECT c.relname || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
          AND col_description(c.oid, a.attnum) IS NULL
        UNION ALL
        SELECT p.proname FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
        UNION ALL
        SELECT t.typname FROM pg_type AS t
        WHERE t.typnamespace = 'public'::regnamespace AND t.typtype = 'e' AND obj_description(t.oid, 'pg_type') IS NULL
    """)
    assert [row["what"] for row in missing] == []


async def test_realtime_and_cron_are_used_where_they_are(server: Server, empty: Database) -> None:
    await empty.owner.execute("""
        CREATE PUBLICATION supabase_realtime;
        CREATE SCHEMA cron;
        CREATE TABLE cron.calls (name text PRIMARY KEY, command text);
        CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS
            'INSERT INTO cron.calls VALUES ($1, $3) ON CONFLICT DO NOTHING; SELECT 1::bigint';
    """)
    for _ in range(2):
        await schema.apply(empty.owner)
    published = await empty.owner.fetch("SELECT tablename FROM pg_publication_tables ORDER BY 1")
    wanted = ["mark_prices", "oracle_prices", "orders", "positions", "risk_alerts"]
    assert [row["tablename"] for row in published] == wanted
    calls = await empty.owner.fetch("SELECT command FROM cron.calls ORDER BY name")
    assert [row["command"] for row in calls] == [
        "SELECT public.refresh_statistics()",
        "SELECT public.upkeep()",
    ]
    await schema.verify(empty.owner)


async def _rows(database: Database) -> list[object]:
    tables = (
        "markets",
        "insurance_fund",
        "schema_version",
        "schema_settings",
        "time_series",
        "admin_audit_logs",
    )
    return [await database.owner.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in tables]


async def _other_database(server: Server, _name: str) -> str:
    """Makes sure that the roles exist on the server: any installation does."""
    name = await server.create()
    server.psql(name, "-f", SCHEMA / "production-schema.sql")
    return name
