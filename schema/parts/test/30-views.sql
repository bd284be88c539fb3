-- Views, triggers and constraints.
DO $$
DECLARE
    market uuid := '00000000-0000-4000-8000-00000000000a';
BEGIN
    PERFORM pg_temp.expect('latest oracle price: neither quarantined nor external',
        (SELECT price FROM latest_oracle_prices WHERE market_id = market), 99::numeric);
    PERFORM pg_temp.expect('latest oracle price: an old one is not usable', (SELECT usable FROM latest_oracle_prices WHERE market_id = market), false);
    PERFORM pg_temp.expect('latest mark price', (SELECT concat_ws(' ', mark_price::real, usable) FROM latest_mark_prices WHERE market_id = market), '94 t');
    PERFORM pg_temp.expect('active positions', (SELECT string_agg(concat_ws(' ', side, unrealized_pnl::real, health_factor), ', ' ORDER BY side)
                                             FROM active_positions WHERE market_id = market), 'long -60 85.106383, short 60 340.425532');
    PERFORM pg_temp.expect('risk dashboard', (SELECT string_agg(risk_level, ', ' ORDER BY health_factor) FROM risk_dashboard WHERE symbol = 'VERIFY-PERP'), 'critical, low');
    PERFORM pg_temp.expect('pending orders', (SELECT count(*) FROM pending_orders WHERE market_id = market), 3::bigint);
    PERFORM pg_temp.expect('order book', (SELECT string_agg(concat_ws(' ', side, price::real, size::real, orders), ', ') FROM order_book WHERE market_id = market), 'long 99 4 2');
    PERFORM pg_temp.expect('market summary', (SELECT concat_ws(' ', total_open_interest::real, active_traders, total_unrealized_pnl::real, volume_24h::real)
                                           FROM market_summary WHERE id = market), '20 2 0 2');
    PERFORM pg_temp.expect('portfolio', (SELECT concat_ws(' ', total_balance::real, total_locked::real, active_positions, total_unrealized_pnl::real)
                                      FROM user_portfolio WHERE wallet_address = 'verify wallet one'), '59.5 50 1 -60');
    PERFORM refresh_market_day((now() AT TIME ZONE 'UTC')::date), refresh_user_day((now() AT TIME ZONE 'UTC')::date);
    PERFORM pg_temp.expect('market statistics', (SELECT concat_ws(' ', volume::real, volume_usd::real, trades_count, open_interest::real) FROM market_stats
                                              WHERE market_id = market AND date = (now() AT TIME ZONE 'UTC')::date), '2 200 1 10');
    PERFORM pg_temp.expect('user statistics', (SELECT concat_ws(' ', total_volume_usd::real, unrealized_pnl::real) FROM user_stats
        WHERE user_id = '00000000-0000-4000-8000-000000000001' AND date = (now() AT TIME ZONE 'UTC')::date), '200 -60');
    UPDATE markets SET current_funding_rate = 0.001, last_funding_time = now() WHERE id = market;
    UPDATE markets SET max_leverage = 500 WHERE id = market;
    PERFORM pg_temp.expect('audit log', (SELECT string_agg(action, ', ' ORDER BY created_at) FROM admin_audit_logs WHERE resource = 'markets' AND resource_id = market), 'insert, update');
    PERFORM pg_temp.expect_error('a negative balance', 'UPDATE user_balances SET balance = -1 WHERE user_id = ''00000000-0000-4000-8000-000000000001''', ARRAY['23514']);
    PERFORM pg_temp.expect_error('leverage 0', 'UPDATE positions SET leverage = 0 WHERE id = ''00000000-0000-4000-8000-0000000000b1''', ARRAY['23514']);
    PERFORM pg_temp.expect_error('a fill above the size', 'UPDATE orders SET filled_size = 100 WHERE user_id = ''00000000-0000-4000-8000-000000000001''', ARRAY['23514']);
    -- In a time that no continuous aggregate has been refreshed for: what was refreshed shows late prints with its next refresh.
    INSERT INTO oracle_prices (market_id, price, confidence, exponent, slot, created_at, source, verdict)
    SELECT o.market_id, o.price, o.confidence, o.exponent, o.slot, o.created_at + interval '29220 days', o.source, o.verdict
    FROM oracle_prices AS o WHERE o.market_id = market;
    PERFORM pg_temp.expect('candle', (SELECT concat_ws(' ', open::real, high::real, low::real, close::real, n) FROM candles
                                   WHERE market_id = market AND resolution = '1h' AND bucket = '2100-01-01Z'), '100 103 99 99 3');
    PERFORM pg_temp.expect('candles of every width', (SELECT count(*) FROM candles WHERE market_id = market AND bucket = '2100-01-01Z'), 3::bigint);
END $$;
