-- The market, the users and the prices that the checks are made with; all of it is rolled back.
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;
SET LOCAL timezone = 'UTC';

DO $$
DECLARE
    found integer;
BEGIN
    IF to_regclass('public.schema_version') IS NOT NULL THEN
        EXECUTE 'SELECT max(version) FROM public.schema_version' INTO found;
    END IF;
    IF found IS DISTINCT FROM 3 THEN
        RAISE EXCEPTION 'this database does not hold version 3 of the schema (found: %)', coalesce(found::text, 'none')
            USING HINT = 'Make it with schema/production-schema.sql, and an earlier version too; an earlier generation is brought up with schema/migration-to-production.sql';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION pg_temp.expect(what text, got anyelement, wanted anyelement) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF got IS DISTINCT FROM wanted THEN
        RAISE EXCEPTION 'schema check failed: %: found %, expected %', what, coalesce(got::text, 'NULL'), coalesce(wanted::text, 'NULL');
    END IF;
END $$;

CREATE OR REPLACE FUNCTION pg_temp.expect_error(what text, statement text, states text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    got text := 'no error';
BEGIN
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        got := SQLSTATE;
    END;
    IF got <> ALL (states) THEN
        RAISE EXCEPTION 'schema check failed: %: found %, expected %', what, got, array_to_string(states, ' or ');
    END IF;
END $$;

INSERT INTO markets (id, symbol, base_asset, quote_asset, oracle_account, maintenance_margin_ratio, initial_margin_ratio)
VALUES ('00000000-0000-4000-8000-00000000000a', 'VERIFY-PERP', 'VERIFY', 'USDC', 'verify', 500, 1000);
INSERT INTO users (id, wallet_address) VALUES
    ('00000000-0000-4000-8000-000000000001', 'verify wallet one'),
    ('00000000-0000-4000-8000-000000000002', 'verify wallet two');
INSERT INTO oracle_prices (market_id, price, confidence, exponent, slot, created_at, source, verdict) VALUES
    ('00000000-0000-4000-8000-00000000000a', 100, 0.1, -8, 1, '2020-01-01 00:00:00Z', 'poll', 'accepted'),
    ('00000000-0000-4000-8000-00000000000a', 103, 0.1, -8, 2, '2020-01-01 00:00:30Z', 'poll', 'wide'),
    ('00000000-0000-4000-8000-00000000000a', 900, 0.1, -8, 3, '2020-01-01 00:00:40Z', 'poll', 'quarantined'),
    ('00000000-0000-4000-8000-00000000000a', 99, 0.1, -8, 4, '2020-01-01 00:00:50Z', 'chain', 'accepted'),
    ('00000000-0000-4000-8000-00000000000a', 500, 0.1, -8, -1000000000, '2020-01-01 00:00:55Z', 'external', NULL);
INSERT INTO positions (id, user_id, market_id, side, size, entry_price, margin, leverage) VALUES
    ('00000000-0000-4000-8000-0000000000b1', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'long', 10, 100, 100, 1000),
    ('00000000-0000-4000-8000-0000000000b2', '00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', 'short', 10, 100, 100, 1000),
    ('00000000-0000-4000-8000-0000000000b3', '00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', 'long', 0, 100, 100, 1000);
INSERT INTO orders (user_id, market_id, order_type, side, size, price, filled_size, status, expires_at) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'limit', 'long', 5, 99, 2, 'partially_filled', NULL),
    ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', 'limit', 'long', 1, 99, 0, 'pending', now() + interval '1 hour'),
    ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', 'limit', 'long', 7, 98, 0, 'pending', now() - interval '1 hour'),
    ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', 'market', 'short', 7, NULL, 0, 'pending', NULL);
INSERT INTO trades (user_id, market_id, side, size, price) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'buy', 2, 100);
