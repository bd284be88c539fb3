"""test-schema.sql fails when any one thing is damaged. Each damage here was not noticed by the script it replaces."""

from __future__ import annotations

import pytest

from quantdesk_oracle.errors import SchemaError
from quantdesk_oracle.store import schema
from tests.schema.support import EVERY_MODE, SCHEMA, Database, servers_named

server = servers_named(*EVERY_MODE)
DAMAGES = {
    "an index dropped": "DROP INDEX orders_book_idx",
    "a key's index dropped": "ALTER TABLE users DROP CONSTRAINT users_email_key",
    "a policy widened": "DROP POLICY users_read_own ON users; CREATE POLICY users_read_own ON users USING (true)",
    "a policy added": "CREATE POLICY more ON users FOR SELECT TO authenticated USING (true)",
    "a policy dropped": "DROP POLICY orders_read_own ON orders",
    "row security off": "ALTER TABLE system_events DISABLE ROW LEVEL SECURITY",
    "a function broken": "CREATE OR REPLACE FUNCTION check_liquidation(p_position_id uuid) RETURNS boolean"
    " LANGUAGE sql STABLE AS 'SELECT true'",
    "a function that fails": "CREATE OR REPLACE FUNCTION calculate_funding_rate(p_market_id uuid, p_at timestamptz"
    " DEFAULT now()) RETURNS numeric LANGUAGE plpgsql AS 'BEGIN RETURN 1 / 0; END'",
    "a part of upkeep changed": "CREATE OR REPLACE FUNCTION upkeep_at(at timestamptz) RETURNS TABLE"
    " (table_name text, action text, objects integer) LANGUAGE sql AS 'SELECT NULL::text, NULL::text, 0 WHERE false'",
    "a function for everybody": "GRANT EXECUTE ON FUNCTION update_user_balance(uuid, text, numeric) TO PUBLIC",
    "a grant too many": "GRANT SELECT ON admin_users TO anon",
    "a grant of a column": "GRANT UPDATE (balance) ON user_balances TO authenticated",
    "a grant missing": "REVOKE SELECT ON candles FROM anon",
    "a trigger dropped": "DROP TRIGGER oracle_prices_heads ON oracle_prices",
    "a trigger off": "ALTER TABLE markets DISABLE TRIGGER markets_audit",
    "a check dropped": "ALTER TABLE user_balances DROP CONSTRAINT user_balances_balance_check",
    "a column's type": "ALTER TABLE users ALTER COLUMN total_trades TYPE bigint",
    "a column dropped": "ALTER TABLE liquidations DROP COLUMN transaction_signature",
    "a default dropped": "ALTER TABLE oracle_prices ALTER COLUMN slot DROP DEFAULT",
    "a view that shows all": "ALTER VIEW active_positions SET (security_invoker = false)",
    "a view of another owner": "ALTER VIEW order_book OWNER TO CURRENT_USER",
    "a view changed": "DO $$ BEGIN EXECUTE 'CREATE OR REPLACE VIEW candles WITH (security_invoker = true) AS '"
    " || rtrim(pg_get_viewdef('candles'::regclass), ';') || ' LIMIT 1000000'; END $$",
    "a table dropped": "DROP TABLE auction_settlements CASCADE",
    "a comment lost": "COMMENT ON COLUMN markets.max_leverage IS NULL",
    "a label added": "ALTER TYPE order_status ADD VALUE 'lost'",
}


@pytest.mark.parametrize("what", DAMAGES)
async def test_a_damage_is_caught(database: Database, what: str) -> None:
    await database.owner.execute(DAMAGES[what])
    done = database.server.psql(
        database.name, "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "test-schema.sql", check=False
    )
    assert done.returncode == 3
    assert "ERROR" in done.stderr


async def test_an_intact_schema_verifies_by_psql_and_by_the_program(database: Database) -> None:
    done = database.server.psql(database.name, "-v", "ON_ERROR_STOP=1", "-f", SCHEMA / "test-schema.sql")
    assert done.stderr == ""
    await schema.verify(database.owner)


async def test_what_differs_is_named(database18: Database) -> None:
    await database18.owner.execute("DROP INDEX orders_book_idx; GRANT TRUNCATE ON markets TO service_role")
    with pytest.raises(
        SchemaError,
        match=r"TRUNCATE to service_role of markets: not part of(.|\n)*orders_book_idx of orders: missing",
    ):
        await schema.verify(database18.owner)


async def test_what_others_added_is_their_own_affair(database18: Database) -> None:
    await database18.owner.execute("""
        CREATE TABLE chat (id int PRIMARY KEY, author uuid REFERENCES users (id));
        CREATE INDEX users_last_login ON users (last_login);
        ALTER TABLE users ADD COLUMN nickname text;
    """)
    await schema.verify(database18.owner)


async def test_an_empty_database_does_not_verify(empty: Database) -> None:
    with pytest.raises(SchemaError, match=r"does not hold version .*found: none"):
        await schema.verify(empty.owner)
