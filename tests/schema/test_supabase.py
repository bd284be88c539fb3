"""A server made as Supabase makes one: the project's `postgres` is no superuser, and most is there beforehand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import asyncpg
import pytest

from quantdesk_oracle.store import schema
from tests.postgres import VERSIONS, PostgresServer, clients, execute, programs
from tests.schema.support import SCHEMA, Server, acting

PROJECT = """
    CREATE ROLE postgres LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS;
    CREATE ROLE anon NOLOGIN NOINHERIT;
    CREATE ROLE authenticated NOLOGIN NOINHERIT;
    CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    CREATE ROLE authenticator LOGIN NOINHERIT;
    CREATE ROLE supabase_auth_admin NOLOGIN NOINHERIT CREATEROLE;
    GRANT anon, authenticated, service_role TO authenticator;
    GRANT anon, authenticated, service_role TO postgres;
"""
DATABASE = """
    GRANT ALL ON SCHEMA public TO postgres;
    GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
        GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
        GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
        GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
    CREATE SCHEMA extensions;
    GRANT USAGE ON SCHEMA extensions TO postgres, anon, authenticated, service_role;
    CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
    GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, postgres;
    CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
        SELECT coalesce(nullif(current_setting('request.jwt.claim', true), ''),
                        nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
    ALTER FUNCTION auth.jwt() OWNER TO supabase_auth_admin;
    CREATE PUBLICATION supabase_realtime;
    ALTER PUBLICATION supabase_realtime OWNER TO postgres;
    CREATE SCHEMA cron;
    CREATE TABLE cron.calls (name text PRIMARY KEY, schedule text, command text);
    CREATE FUNCTION cron.schedule(job_name text, schedule text, command text) RETURNS bigint
        LANGUAGE sql SECURITY DEFINER AS
        'INSERT INTO cron.calls VALUES ($1, $2, $3) ON CONFLICT DO NOTHING; SELECT 1::bigint';
    GRANT USAGE ON SCHEMA cron TO postgres;
"""


@pytest.fixture(scope="module", params=VERSIONS)
def project_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server of its own: its roles are none of the other tests'."""
    folder = programs(request.param)
    if folder is None:
        pytest.skip(f"PostgreSQL {request.param} is not installed on this machine")
    running = PostgresServer(folder, superuser="supabase_admin")
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
async def project(project_server: PostgresServer) -> AsyncIterator[str]:
    """A project's database, and how its `postgres` connects to it."""
    admin = project_server.dsn("template1")
    with suppress(asyncpg.DuplicateObjectError):
        await execute(admin, PROJECT)
    await execute(admin, "CREATE DATABASE project OWNER postgres")
    await execute(project_server.dsn("project"), DATABASE)
    yield project_server.dsn("project", "postgres")
    await execute(admin, "DROP DATABASE project WITH (FORCE)")


async def test_its_postgres_applies_twice_and_verifies(project_server: PostgresServer, project: str) -> None:
    server = Server("supabase", project, clients(15), "")
    for _ in range(2):
        done = server.psql("project", "-f", SCHEMA / "production-schema.sql")
        assert (done.stdout, done.stderr) == ("", "")
    server.psql("project", "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "test-schema.sql")
    connection = await asyncpg.connect(project)
    try:
        assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert (await schema.check(connection)).mode == "plain"
        await schema.verify(connection)
        published = await connection.fetch("SELECT tablename FROM pg_publication_tables ORDER BY 1")
        wanted = ["mark_prices", "oracle_prices", "orders", "positions", "risk_alerts"]
        assert [row["tablename"] for row in published] == wanted
    finally:
        await connection.close()
    owner = await asyncpg.connect(project_server.dsn("project"))
    assert await owner.fetchval("SELECT count(*) FROM cron.calls") == 2
    assert await owner.fetchval(
        "SELECT proowner::regrole::text FROM pg_proc WHERE oid = 'auth.jwt()'::regprocedure"
    ) == ("supabase_auth_admin")
    await owner.close()


async def test_there_a_daemon_writes_and_a_user_reads_his_own(
    project_server: PostgresServer, project: str
) -> None:
    postgres = await asyncpg.connect(project)
    await schema.apply(postgres)
    await postgres.execute("CREATE ROLE oracle LOGIN PASSWORD 'x' IN ROLE quantdesk_oracle")
    daemon = await asyncpg.connect(project_server.dsn("project", "oracle"))
    postgrest = await asyncpg.connect(project_server.dsn("project", "authenticator"))
    try:
        await daemon.execute(
            "INSERT INTO oracle_prices (market_id, slot, source, verdict, exponent, price)"
            " SELECT id, 1, 'poll', 'accepted', -8, 5 FROM markets"
        )
        assert await daemon.fetch("SELECT * FROM upkeep()") == []
        await postgres.execute("INSERT INTO users (wallet_address) VALUES ('one'), ('two')")
        async with acting(postgrest, "anon"):
            assert await postgrest.fetchval("SELECT count(*) FROM latest_oracle_prices") == 3
        async with acting(postgrest, "authenticated", "one"):
            assert await postgrest.fetch("SELECT wallet_address FROM users") == [("one",)]
        async with acting(postgrest, "service_role"):
            assert await postgrest.fetchval("SELECT count(*) FROM users") == 2
    finally:
        for connection in (postgrest, daemon):
            await connection.close()
        await postgres.execute("DROP ROLE oracle")
        await postgres.close()
