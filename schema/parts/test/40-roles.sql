-- Who sees and does what, as each role.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'quantdesk_oracle'] LOOP
        -- (From PostgreSQL 16 on, who creates a role may grant it, and may not act as it before.)
        IF NOT pg_has_role(current_user, wanted, CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user); -- rolled back with all the rest
        END IF;
    END LOOP;
END $$;

-- Every table and every command, from the catalogue: what anon and authenticated may do at all.
DO $$
DECLARE
    t record;
    readable text[] := ARRAY['markets', 'oracle_prices', 'oracle_price_heads', 'mark_prices', 'mark_price_heads', 'funding_rates',
                             'market_stats', 'candle_rollups'];
    own text[] := ARRAY['users', 'user_balances', 'positions', 'orders', 'trades', 'liquidations', 'user_stats', 'risk_alerts'];
BEGIN
    FOR t IN SELECT c.oid, c.relname, c.relrowsecurity FROM pg_class AS c
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
               AND obj_description(c.oid) IS NOT NULL AND c.relname IN (SELECT tablename FROM pg_tables WHERE tableowner = (
                   SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'markets')) LOOP
        PERFORM pg_temp.expect('anon writes ' || t.relname, has_table_privilege('anon', t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'), false);
        PERFORM pg_temp.expect('authenticated writes ' || t.relname, has_table_privilege('authenticated', t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            OR has_any_column_privilege('authenticated', t.oid, 'INSERT, UPDATE'), false);
        PERFORM pg_temp.expect('anon reads ' || t.relname, has_any_column_privilege('anon', t.oid, 'SELECT'), t.relname = ANY (readable));
        PERFORM pg_temp.expect('authenticated reads ' || t.relname, has_any_column_privilege('authenticated', t.oid, 'SELECT'), t.relname = ANY (readable || own));
        PERFORM pg_temp.expect('row security of ' || t.relname, t.relrowsecurity OR t.relname <> ALL (own), true);
    END LOOP;
END $$;

SET LOCAL "request.jwt.claims" = '{"wallet_address": "verify wallet one"}';
SET LOCAL ROLE authenticated;
DO $$
BEGIN
    PERFORM pg_temp.expect('own users', (SELECT count(*) FROM users), 1::bigint);
    PERFORM pg_temp.expect('own positions', (SELECT count(*) FROM active_positions), 1::bigint);
    PERFORM pg_temp.expect('own orders', (SELECT count(*) FROM pending_orders), 1::bigint);
    PERFORM pg_temp.expect('own trades', (SELECT count(*) FROM trades), 1::bigint);
    PERFORM pg_temp.expect('own portfolio', (SELECT string_agg(wallet_address, ', ') FROM user_portfolio), 'verify wallet one');
    PERFORM pg_temp.expect('everybody''s order book', (SELECT orders FROM order_book WHERE symbol = 'VERIFY-PERP'), 2::bigint);
    PERFORM pg_temp.expect_error('own balance set', 'UPDATE user_balances SET balance = 999999', ARRAY['42501']);
    PERFORM pg_temp.expect_error('own balance credited', 'SELECT update_user_balance(''00000000-0000-4000-8000-000000000001'', ''USDC'', 1)', ARRAY['42501']);
    PERFORM pg_temp.expect_error('risk dashboard', 'SELECT * FROM risk_dashboard', ARRAY['42501']);
END $$;
RESET ROLE;
SET LOCAL ROLE anon;
DO $$
BEGIN
    PERFORM pg_temp.expect('prices', (SELECT count(*) FROM oracle_prices WHERE market_id = '00000000-0000-4000-8000-00000000000a'), 10::bigint);
    PERFORM pg_temp.expect('candles', (SELECT count(*) > 0 FROM candles), true);
    PERFORM pg_temp.expect('open interest', (SELECT total_open_interest FROM market_summary WHERE symbol = 'VERIFY-PERP'), 20::numeric);
    PERFORM pg_temp.expect_error('admin users', 'SELECT password_hash FROM admin_users', ARRAY['42501']);
    PERFORM pg_temp.expect_error('positions', 'SELECT * FROM active_positions', ARRAY['42501']);
    PERFORM pg_temp.expect_error('upkeep', 'SELECT upkeep()', ARRAY['42501']);
END $$;
RESET ROLE;
SET LOCAL ROLE quantdesk_oracle;
DO $$
BEGIN
    PERFORM pg_temp.expect('the daemon reads the orders', (SELECT count(*) FROM orders WHERE market_id = '00000000-0000-4000-8000-00000000000a'), 4::bigint);
    INSERT INTO oracle_prices (market_id, price, confidence, exponent, slot, created_at, source, verdict)
    VALUES ('00000000-0000-4000-8000-00000000000a', 99, 0.1, -8, 5, now(), 'poll', 'accepted');
    INSERT INTO system_events (event_type) VALUES ('schema.verified');
    PERFORM pg_temp.expect_error('the daemon reads no balances', 'SELECT * FROM user_balances', ARRAY['42501']);
    PERFORM pg_temp.expect_error('the daemon changes no order', 'UPDATE orders SET size = 1', ARRAY['42501']);
END $$;
RESET ROLE;
SET LOCAL ROLE service_role;
DO $$
BEGIN
    PERFORM pg_temp.expect('the backend sees all', (SELECT count(*) FROM positions WHERE market_id = '00000000-0000-4000-8000-00000000000a'), 3::bigint);
    UPDATE users SET kyc_status = 'verified' WHERE wallet_address = 'verify wallet one';
    PERFORM pg_temp.expect('the backend writes', (SELECT kyc_status::text FROM users WHERE wallet_address = 'verify wallet one'), 'verified');
    PERFORM pg_temp.expect_error('the backend forges no audit log', 'DELETE FROM admin_audit_logs', ARRAY['42501']);
END $$;
RESET ROLE;
