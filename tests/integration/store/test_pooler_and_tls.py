"""The store behind PgBouncer in transaction mode, and over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store import schema, series
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.faults import DatabaseTroubleError, Kind
from tests.pgbouncer import BOUNCER, PgBouncer
from tests.postgres import PostgresServer, execute
from tests.rows import a_mark, a_print, a_sample
from tests.tls import make_certificates, server_with_tls


@pytest.fixture
def bouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    if BOUNCER is None:
        pytest.skip("PgBouncer is not installed on this machine")
    bouncer = PgBouncer(postgres)
    bouncer.start()
    yield bouncer
    bouncer.remove()


@pytest.fixture
async def pooled(bouncer: PgBouncer, fresh_dsn: str) -> AsyncIterator[Database]:
    name = fresh_dsn.rsplit("/", 1)[1]
    database = Database(
        f"postgresql://postgres@127.0.0.1:{bouncer.port}/{name}", pool_size=6, command_timeout=10
    )
    await database.open()
    yield database
    await database.close()


async def test_a_pooler_is_noticed_and_a_server_is_not_taken_for_one(
    pooled: Database, fresh_dsn: str
) -> None:
    direct = Database(fresh_dsn, pool_size=2, command_timeout=10)
    await direct.open()
    assert (pooled.pooled, direct.pooled) == (True, False)
    await direct.close()


async def test_everything_works_on_two_connections_that_six_share(pooled: Database, past: int) -> None:
    async with pooled.connection("cannot read") as connection:
        assert (await schema.status(connection)).current
        markets = {
            row["symbol"]: row["id"] for row in await connection.fetch("SELECT symbol, id FROM markets")
        }

    async def writer(number: int) -> None:
        for turn in range(10):
            first = (number * 10 + turn) * 5
            rows = [a_print(n) for n in range(first, first + 5)]
            assert await series.insert_oracle_prices(pooled, markets, rows) == 5
            instant = past - (number * 10 + turn) * 5 * SECOND
            assert await series.insert_mark_prices(pooled, markets, [a_mark(instant)]) == 1
            assert await series.insert_premium_samples(pooled, markets, [a_sample(instant)]) == 1
            assert set(await series.marks_at(pooled, markets, instant)) == {"BTC-PERP"}

    await asyncio.gather(*[writer(number) for number in range(6)])
    async with pooled.connection("cannot read") as connection:
        assert await connection.fetchval("SELECT count(*) FROM oracle_prices") == 300
    await series.upkeep(pooled)


async def test_a_pooler_that_is_killed_and_back_is_only_a_pause(pooled: Database, bouncer: PgBouncer) -> None:
    assert await series.database_clock(pooled) > 0
    bouncer.kill()
    with pytest.raises(DatabaseTroubleError) as caught:
        await series.database_clock(pooled)
    assert caught.value.kind is Kind.UNREACHABLE
    bouncer.start()
    assert await series.database_clock(pooled) > 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_server(authority: Path) -> Iterator[PostgresServer]:
    server = server_with_tls(authority)
    hba = server.data / "pg_hba.conf"
    hba.write_text(f"hostnossl all plain all reject\n{hba.read_text()}")
    server.start()
    asyncio.run(execute(server.dsn(), "CREATE ROLE plain LOGIN"))
    yield server
    server.remove()


async def connected_over_tls(dsn: str) -> bool:
    database = Database(dsn, pool_size=2, command_timeout=5)
    await database.open()
    async with database.connection("cannot read") as connection:
        encrypted = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await database.close()
    return bool(encrypted)


@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_tls_modes_encrypt(tls_server: PostgresServer, authority: Path, mode: str) -> None:
    dsn = f"postgresql://plain@localhost:{tls_server.port}/postgres?sslmode={mode}"
    if mode == "verify-full":
        dsn += f"&sslrootcert={authority / 'ca.crt'}"
    assert await connected_over_tls(dsn)


async def test_verify_full_refuses_a_name_an_authority_and_a_file_that_do_not_fit(
    tls_server: PostgresServer, authority: Path
) -> None:
    base = f"{tls_server.port}/postgres?sslmode=verify-full&sslrootcert"
    for dsn in (
        f"postgresql://plain@127.0.0.1:{base}={authority / 'ca.crt'}",
        f"postgresql://plain@localhost:{base}={authority / 'server.crt'}",
        f"postgresql://plain@localhost:{base}={authority / 'no-such.crt'}",
    ):
        database = Database(dsn, pool_size=2, command_timeout=5)
        with pytest.raises(DatabaseTroubleError) as caught:
            await database.open()
        assert caught.value.kind is Kind.TLS, str(caught.value)
        assert "check sslmode and sslrootcert" in str(caught.value)


async def test_a_server_without_tls_is_told_so(postgres_18: PostgresServer) -> None:
    database = Database(f"{postgres_18.dsn()}?sslmode=require", pool_size=2, command_timeout=5)
    with pytest.raises(DatabaseTroubleError) as caught:
        await database.open()
    assert caught.value.kind is Kind.TLS
