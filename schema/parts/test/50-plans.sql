-- Queries that must never read a whole table can be answered by an index.
CREATE OR REPLACE PROCEDURE pg_temp.expect_index(what text, statement text)
LANGUAGE plpgsql AS $$
DECLARE
    plan text := '';
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        plan := plan || line || E'\n';
    END LOOP;
    IF plan ~ 'Seq Scan' THEN
        RAISE EXCEPTION E'schema check failed: %: no index serves this query:\n%', what, plan;
    END IF;
END $$;
SET LOCAL enable_seqscan = off;
CALL pg_temp.expect_index('newest oracle price', 'SELECT * FROM oracle_prices WHERE market_id = ''00000000-0000-4000-8000-00000000000a'' ORDER BY created_at DESC LIMIT 1');
CALL pg_temp.expect_index('oracle prices of an hour', 'SELECT * FROM oracle_prices WHERE market_id = ''00000000-0000-4000-8000-00000000000a'' AND created_at >= now() - interval ''1 hour'' ORDER BY created_at DESC');
CALL pg_temp.expect_index('premium samples of an hour', 'SELECT * FROM premium_samples WHERE market_id = ''00000000-0000-4000-8000-00000000000a'' AND created_at >= now() - interval ''1 hour''');
CALL pg_temp.expect_index('positions of a user', 'SELECT * FROM positions WHERE user_id = ''00000000-0000-4000-8000-000000000001''');
CALL pg_temp.expect_index('orders of a user', 'SELECT * FROM orders WHERE user_id = ''00000000-0000-4000-8000-000000000001'' ORDER BY created_at DESC LIMIT 10');
CALL pg_temp.expect_index('trades of a user', 'SELECT * FROM trades WHERE user_id = ''00000000-0000-4000-8000-000000000001'' ORDER BY created_at DESC LIMIT 10');
CALL pg_temp.expect_index('trades of a market', 'SELECT sum(value) FROM trades WHERE market_id = ''00000000-0000-4000-8000-00000000000a'' AND created_at >= now() - interval ''24 hours''');
CALL pg_temp.expect_index('newest events', 'SELECT * FROM system_events ORDER BY created_at DESC LIMIT 10');
RESET enable_seqscan;
