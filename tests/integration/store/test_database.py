"""Connections to real servers: every way to fail is told apart, and none of them is for good."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store import series
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.faults import DatabaseTroubleError, Kind, RowFaultError
from tests.integration.store.conftest import Markets
from tests.postgres import PostgresServer, execute, free_port
from tests.rows import a_print

ODD = "p@ss:w/rd?&=#%[] é'\""


def a_database(dsn: str, command_timeout: float = 5) -> Database:
    return Database(dsn, pool_size=2, command_timeout=command_timeout)


async def trouble_of(dsn: str) -> DatabaseTroubleError:
    database = a_database(dsn)
    with pytest.raises(DatabaseTroubleError) as caught:
        await database.open()
    await database.close()
    return caught.value


@pytest.fixture
async def odd_role(postgres_15: PostgresServer) -> AsyncIterator[str]:
    """A role whose name and password need quoting; pg_hba asks it for the password."""
    role = f"rôle @{secrets.token_hex(3)}"
    literal = ODD.replace("'", "''")
    await execute(postgres_15.dsn(), f"""CREATE ROLE "{role}" LOGIN PASSWORD '{literal}'""")
    hba = postgres_15.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f'host all "{role}" all scram-sha-256\n{before}')
    await execute(postgres_15.dsn(), "SELECT pg_reload_conf()")
    await asyncio.sleep(0.2)
    yield role
    hba.write_text(before)
    await execute(postgres_15.dsn(), "SELECT pg_reload_conf()", f'DROP ROLE "{role}"')


def url(role: str, password: str, port: int) -> str:
    return f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}@127.0.0.1:{port}/postgres"


async def test_odd_characters_in_user_and_password_are_quoted_in_the_url(
    postgres_15: PostgresServer, odd_role: str
) -> None:
    database = a_database(url(odd_role, ODD, postgres_15.port))
    await database.open()
    assert ODD not in database.name
    assert quote(ODD, safe="") not in database.name
    await database.close()


async def test_a_wrong_password_says_so_and_is_not_hammered(
    postgres_15: PostgresServer, odd_role: str
) -> None:
    error = await trouble_of(url(odd_role, "wrong-password", postgres_15.port))
    assert (error.kind, error.retry_after) == (Kind.CREDENTIALS, 30)
    assert "check user, password and database name" in str(error)
    assert "wrong-password" not in str(error)


async def test_an_unknown_database_is_a_matter_of_credentials(postgres_15: PostgresServer) -> None:
    assert (await trouble_of(postgres_15.dsn("no_such_database"))).kind is Kind.CREDENTIALS


async def test_a_closed_port_is_unreachable(postgres_15: PostgresServer) -> None:
    error = await trouble_of(postgres_15.dsn(port=free_port()))
    assert error.kind is Kind.UNREACHABLE


async def test_an_unknown_host_is_unreachable_and_says_so() -> None:
    error = await trouble_of("postgresql://nobody@no-such-host.invalid:5432/x")
    assert error.kind is Kind.UNREACHABLE
    assert "the host's name is not known" in str(error)


async def test_a_host_that_accepts_and_says_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = a_database(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x", command_timeout=0.3)
        with pytest.raises(DatabaseTroubleError) as caught:
            await database.open()
    assert caught.value.kind is Kind.TIMEOUT


@pytest.mark.parametrize(
    "dsn", ["postgresql://h:port/x", "postgresql://[::1/x", "postgresql://x?sslmode=perhaps"]
)
async def test_a_url_that_cannot_be_read_is_one_sentence(dsn: str) -> None:
    database = a_database(dsn)
    with pytest.raises(DatabaseError):
        await database.open()


async def test_an_ipv6_host_is_connected_to(postgres_15: PostgresServer) -> None:
    database = a_database(f"postgresql://postgres@[::1]:{postgres_15.port}/postgres")
    await database.open()
    assert await series.database_clock(database) > 0
    await database.close()


async def test_missing_tables_and_rights_are_told_apart(database: Database, fresh_dsn: str) -> None:
    with pytest.raises(DatabaseTroubleError) as caught:
        async with database.connection("cannot read") as connection:
            await connection.fetch("SELECT * FROM no_such_table")
    assert caught.value.kind is Kind.MISSING
    role = f"r{secrets.token_hex(4)}"
    await execute(fresh_dsn, f"CREATE ROLE {role} LOGIN")
    powerless = a_database(fresh_dsn.replace("postgres@", f"{role}@"))
    await powerless.open()
    with pytest.raises(DatabaseTroubleError) as caught:
        async with powerless.connection("cannot read") as connection:
            await connection.fetch("SELECT * FROM premium_samples")
    assert caught.value.kind is Kind.FORBIDDEN
    assert "quantdesk_oracle" in str(caught.value)
    await powerless.close()
    await execute(fresh_dsn, f"DROP ROLE {role}")


async def test_a_read_only_server_is_told_apart(database: Database, markets: Markets) -> None:
    async with database.connection("cannot") as connection:
        await connection.execute("ALTER DATABASE CURRENT SET default_transaction_read_only = on".replace(
            "CURRENT", await connection.fetchval("SELECT quote_ident(current_database())")
        ))  # fmt: skip
    await database._pool.expire_connections()
    with pytest.raises(DatabaseTroubleError) as caught:
        await series.insert_oracle_prices(database, markets, [a_print()])
    assert caught.value.kind is Kind.READ_ONLY
    assert "target_session_attrs=read-write" in str(caught.value)


async def test_a_conflict_of_transactions_is_told_apart(database: Database) -> None:
    async def bump(ready: asyncio.Event, go: asyncio.Event) -> None:
        async with (
            database.connection("cannot") as connection,
            connection.transaction(isolation="serializable"),
        ):
            await connection.fetchval("SELECT max_funding_rate FROM markets WHERE symbol = 'BTC-PERP'")
            ready.set()
            await go.wait()
            await connection.execute(
                "UPDATE markets SET max_funding_rate = max_funding_rate + 1 WHERE symbol = 'BTC-PERP'"
            )

    ready, go = [asyncio.Event(), asyncio.Event()], asyncio.Event()
    both = [asyncio.create_task(bump(each, go)) for each in ready]
    await asyncio.gather(*[each.wait() for each in ready])
    go.set()
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    [error] = [each for each in outcomes if each is not None]
    assert isinstance(error, DatabaseTroubleError)
    assert (error.kind, error.retry_after) == (Kind.CONFLICT, 0)


async def test_a_statement_that_takes_too_long_is_a_timeout_and_its_connection_goes(fresh_dsn: str) -> None:
    database = a_database(fresh_dsn, command_timeout=0.3)
    await database.open()
    with pytest.raises(DatabaseTroubleError) as caught:
        async with database.connection("cannot wait") as connection:
            await connection.execute("SELECT pg_sleep(5)")
    assert caught.value.kind is Kind.TIMEOUT
    assert await series.database_clock(database) > 0
    await database.close()


async def test_a_row_at_fault_is_no_trouble_of_the_database(database: Database) -> None:
    with pytest.raises(RowFaultError) as caught:
        async with database.connection("cannot") as connection:
            await connection.execute("UPDATE markets SET symbol = 'BTC-PERP'")
    assert not isinstance(caught.value, DatabaseTroubleError)


async def test_connections_that_the_server_has_ended_are_replaced(database: Database, fresh_dsn: str) -> None:
    await asyncio.gather(*[series.database_clock(database) for _ in range(4)])
    await execute(
        fresh_dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    with contextlib.suppress(DatabaseTroubleError):
        await series.database_clock(database)
    for _ in range(4):
        assert await series.database_clock(database) > 0


async def test_who_is_cancelled_in_the_middle_of_a_batch_leaves_a_pool_that_works(
    database: Database, markets: Markets, fresh_dsn: str
) -> None:
    rows = [a_print(n) for n in range(50)]
    for delay in (0.0, 0.001, 0.003, 0.01):
        insert = asyncio.create_task(series.insert_oracle_prices(database, markets, rows))
        await asyncio.sleep(delay)
        insert.cancel()
        await asyncio.gather(insert, return_exceptions=True)
    inserted = await series.insert_oracle_prices(database, markets, rows)
    assert inserted in (0, 50), "a batch goes in whole or not at all"
    async with database.connection("cannot read") as connection:
        assert await connection.fetchval("SELECT count(*) FROM oracle_prices") == 50
        # Those that were given up are gone from the server as well, not left in a transaction.
        await connection.execute("SELECT pg_sleep(0.2)")
        idle = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
        )
        assert await connection.fetchval(idle) == 0


async def test_a_frozen_server_lets_nobody_wait_longer_than_asked(
    killable: PostgresServer,
) -> None:
    database = a_database(killable.dsn(), command_timeout=30)
    await database.open()
    await series.database_clock(database)
    killable.freeze()
    try:
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await series.database_clock(database)
    finally:
        killable.thaw()
    assert await series.database_clock(database) > 0
    await database.close()


async def test_of_several_hosts_the_one_that_may_be_written_is_taken_also_after_a_failover(
    postgres_15: PostgresServer, postgres_18: PostgresServer
) -> None:
    """Two servers; which of them may be written is changed under the daemon's feet."""

    async def let_write(server: PostgresServer, may: bool) -> None:
        await execute(
            server.dsn(),
            f"ALTER DATABASE failover SET default_transaction_read_only = {'off' if may else 'on'}",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'failover' AND pid <> pg_backend_pid()",
        )

    async def version() -> str:
        async with database.connection("cannot write") as connection:
            await connection.execute("CREATE TEMP TABLE IF NOT EXISTS t (n int)")
            return str(await connection.fetchval("SHOW server_version_num"))[:2]

    servers = (postgres_15, postgres_18)
    for server in servers:
        await execute(server.dsn(), "CREATE DATABASE failover")
    try:
        await let_write(postgres_15, False)
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        database = a_database(f"postgresql://postgres@{hosts}/failover")
        await database.open()
        assert await version() == "18"
        await let_write(postgres_15, True)
        await let_write(postgres_18, False)
        with contextlib.suppress(DatabaseTroubleError):
            await version()
        assert await version() == "15"
        await database.close()
    finally:
        for server in servers:
            await execute(server.dsn(), "DROP DATABASE failover WITH (FORCE)")


async def test_of_several_hosts_none_of_which_may_be_written_says_so(postgres_15: PostgresServer) -> None:
    await execute(postgres_15.dsn(), "CREATE DATABASE replica")
    try:
        await execute(postgres_15.dsn(), "ALTER DATABASE replica SET default_transaction_read_only = on")
        where = f"127.0.0.1:{postgres_15.port}"
        error = await trouble_of(f"postgresql://postgres@{where},{where}/replica")
        assert error.kind is Kind.READ_ONLY
    finally:
        await execute(postgres_15.dsn(), "DROP DATABASE replica WITH (FORCE)")
