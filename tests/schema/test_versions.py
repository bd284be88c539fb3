"""A database of an earlier version of this schema is brought up in its place, by applying the schema again."""

from __future__ import annotations

import re

import asyncpg
import pytest

from quantdesk_oracle.errors import SchemaError
from quantdesk_oracle.store import schema
from quantdesk_oracle.store.sql import PRODUCTION, parts_of
from tests.schema.support import FIXTURES, PLAIN, SCHEMA, Database, Server

SINCE_VERSION_2 = re.findall(
    r"CALL pg_temp\.add_column\('(\w+)', '(\w+)'", "".join(part.sql for part in parts_of(PRODUCTION))
)


async def _fill(database: Database) -> None:
    await database.owner.execute("""
        INSERT INTO oracle_prices (market_id, price, exponent) SELECT id, 5, -8 FROM markets;
        INSERT INTO oracle_prices (market_id, price, exponent, slot, source, verdict)
            SELECT id, 7, -8, 10, 'poll', 'accepted' FROM markets;
        INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price) SELECT id, now(), 7, 7 FROM markets;
        UPDATE time_series SET retention = '40 days' WHERE table_name = 'oracle_prices';
    """)


async def _kept(database: Database) -> None:
    for table in ("oracle_prices", "mark_prices"):
        expected = 6 if table == "oracle_prices" else 3
        assert await database.owner.fetchval(f"SELECT count(*) FROM {table}") == expected
    assert await database.owner.fetchval("SELECT count(*) FROM latest_oracle_prices WHERE price = 7") == 3
    retention = "SELECT retention::text FROM time_series WHERE table_name = 'oracle_prices'"
    assert await database.owner.fetchval(retention) == "40 days"
    assert await database.owner.fetch("SELECT version FROM schema_version") == [(schema.NEEDED_VERSION,)]


@pytest.mark.parametrize("command", ["apply", "migrate"])
async def test_version_2_is_brought_up_in_place(database: Database, command: str) -> None:
    await _fill(database)
    for table, column in SINCE_VERSION_2:
        await database.owner.execute(f"ALTER TABLE {table} DROP COLUMN {column} CASCADE")
    await database.owner.execute("DROP VIEW order_book; UPDATE schema_version SET version = 2")
    assert (await schema.status(database.owner)).generation == "older"
    with pytest.raises(
        SchemaError, match=r"version 2 and this program needs 3.*quantdesk-oracle schema apply"
    ):
        await schema.check(database.owner)
    await getattr(schema, command)(database.owner)
    await _kept(database)
    await schema.verify(database.owner)


async def test_a_version_2_as_it_was_made_is_brought_up_by_psql(server: Server, empty: Database) -> None:
    if server.name not in PLAIN:
        pytest.skip("the dump is of native partitions")
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "version_2.sql")
    await empty.owner.execute("""
        INSERT INTO schema_version (version) VALUES (2);
        INSERT INTO markets (symbol, base_asset, quote_asset, program_id, oracle_account) VALUES
            ('BTC-PERP', 'BTC', 'USDC', 'p', 'b'),
            ('ETH-PERP', 'ETH', 'USDC', 'p', 'e'),
            ('SOL-PERP', 'SOL', 'USDC', 'p', 's');
        INSERT INTO time_series VALUES ('oracle_prices', '7 days', 2, '90 days', '7 days', false);
        CREATE TABLE partitions.p PARTITION OF oracle_prices FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
        CREATE TABLE partitions.m PARTITION OF mark_prices FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
    """)
    await _fill(empty)
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "production-schema.sql")
    await _kept(empty)
    await schema.verify(empty.owner)


async def test_a_newer_version_that_serves_this_program_is_worked_with(database: Database) -> None:
    """So that a daemon which is started again in the middle of an upgrade goes on."""
    await database.owner.execute(
        "INSERT INTO schema_version (version, oldest_program) VALUES ($1, $2)",
        schema.NEEDED_VERSION + 1,
        schema.NEEDED_VERSION,
    )
    found = await schema.check(database.owner)
    assert (found.generation, found.version) == ("newer", schema.NEEDED_VERSION + 1)
    await database.owner.execute("UPDATE schema_version SET oldest_program = version")
    with pytest.raises(SchemaError, match="install a newer"):
        await schema.check(database.owner)


STATEMENTS = re.findall(
    r"-- name: (\w+)\n(.*?)(?=\n\n-- name: |\Z)",
    (FIXTURES / "statements_of_version_2.sql").read_text(encoding="utf-8"),
    re.DOTALL,
)
NOT_OF_THE_ROLE = ("refresh_positions", "raise_risk_alerts", "set_funding_interval")
"""Rights that the daemon is given where it is wanted (docs/pricing/positions.md), and a command of the operator's."""


async def test_every_statement_of_a_version_2_program_goes_on_beside_this_version(database: Database) -> None:
    """With its names, types and rights; a row of nothing may be refused for being one."""
    assert len(STATEMENTS) > 50
    assert await database.owner.fetchval("SELECT oldest_program FROM schema_version") == 2
    wrong = {}
    for name, sql in STATEMENTS:
        transaction = database.owner.transaction()
        await transaction.start()
        try:
            if name not in NOT_OF_THE_ROLE:
                await database.owner.execute("SET LOCAL ROLE quantdesk_oracle")
            statement = await database.owner.prepare(sql)
            await statement.fetch(*[None] * len(statement.get_parameters()))
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            pass
        except asyncpg.PostgresError as error:
            wrong[name] = str(error)
        finally:
            await transaction.rollback()
    assert wrong == {}


async def test_a_newer_version_is_refused(database: Database) -> None:
    await database.owner.execute("INSERT INTO schema_version (version) VALUES (999)")
    with pytest.raises(SchemaError, match="install a newer"):
        await schema.check(database.owner)
    for command in (schema.apply, schema.migrate):
        with pytest.raises(SchemaError, match=r"version 999.*newer quantdesk-oracle"):
            await command(database.owner)
