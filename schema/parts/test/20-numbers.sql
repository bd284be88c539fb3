-- Functions, against numbers worked out by hand.
DO $$
DECLARE
    market uuid := '00000000-0000-4000-8000-00000000000a';
    alice uuid := '00000000-0000-4000-8000-000000000001';
    long_one uuid := '00000000-0000-4000-8000-0000000000b1';
    short_one uuid := '00000000-0000-4000-8000-0000000000b2';
    nobody uuid := '00000000-0000-4000-8000-00000000dead';
BEGIN
    PERFORM pg_temp.expect('health without a mark', calculate_position_health(long_one), NULL::numeric);
    PERFORM pg_temp.expect('liquidation without a mark', check_liquidation(long_one), false);
    INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price) VALUES (market, now() - interval '61 seconds', 50, 50);
    PERFORM pg_temp.expect('liquidation at a mark that is too old', check_liquidation(long_one), false);
    -- Mark 94: the long one has 100 − 60 = 40 left, and needs 10 · 94 · 5 % = 47.
    INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price) VALUES (market, now() - interval '10 seconds', 94, 94);
    PERFORM pg_temp.expect('health of a long position', calculate_position_health(long_one), 85.106383);
    PERFORM pg_temp.expect('liquidation of a long position', check_liquidation(long_one), true);
    PERFORM pg_temp.expect('health of a short position', calculate_position_health(short_one), 340.425532);
    PERFORM pg_temp.expect('liquidation of a short position', check_liquidation(short_one), false);
    PERFORM pg_temp.expect('health of a position of size 0', calculate_position_health('00000000-0000-4000-8000-0000000000b3'), NULL::numeric);
    PERFORM pg_temp.expect('health of an unknown position', calculate_position_health(nobody), NULL::numeric);
    PERFORM pg_temp.expect('liquidation of an unknown position', check_liquidation(nobody), false);

    PERFORM pg_temp.expect('credit', update_user_balance(alice, 'USDC', 100), 100::numeric);
    PERFORM pg_temp.expect('debit', update_user_balance(alice, 'USDC', -40.5), 59.5);
    PERFORM pg_temp.expect_error('debit below zero', format('SELECT update_user_balance(%L, %L, -60)', alice, 'USDC'), ARRAY['23514']);
    UPDATE user_balances SET locked_balance = 50 WHERE user_id = alice;
    PERFORM pg_temp.expect_error('debit of what is locked', format('SELECT update_user_balance(%L, %L, -10)', alice, 'USDC'), ARRAY['23514']);
    PERFORM pg_temp.expect_error('credit of an unknown user', format('SELECT update_user_balance(%L, %L, 1)', nobody, 'USDC'), ARRAY['23503']);

    -- 720 samples an hour: 360 of 0.002, one unusable, the rest not taken. P = 0.72 / 719; damped by 5 bp, over 8.
    PERFORM pg_temp.expect('funding without samples', calculate_funding_rate(market, '2020-01-01 00:10Z'), 0.0000125);
    INSERT INTO premium_samples (market_id, created_at, premium, status)
    SELECT market, '2020-01-01 01:00Z'::timestamptz + n * interval '5 seconds', CASE WHEN n < 360 THEN 0.002 END,
           CASE WHEN n < 360 THEN 'used' ELSE 'stale' END FROM generate_series(0, 360) AS n;
    PERFORM pg_temp.expect('funding of an hour', calculate_funding_rate(market, '2020-01-01 01:10Z'), 0.000062673853);
    PERFORM pg_temp.expect('funding of the next hour', calculate_funding_rate(market, '2020-01-01 02:00Z'), 0.0000125);
    PERFORM pg_temp.expect('funding of an unknown market', calculate_funding_rate(nobody), NULL::numeric);
END $$;

-- An auction of 3: the best quote first, then the next within 50 bp, then the insurance fund as far as it reaches.
INSERT INTO auctions (id, symbol, side, size, reference_price, max_slippage_bps, expires_at)
VALUES ('00000000-0000-4000-8000-0000000000c1', 'VERIFY-PERP', 'buy', 3, 100, 50, now() - interval '1 second');
INSERT INTO auction_quotes (auction_id, maker_id, price, size, created_at)
SELECT '00000000-0000-4000-8000-0000000000c1', maker, price, 1, now() - interval '2 seconds'
FROM (VALUES ('second', 100.5), ('best', 100.1), ('too far', 100.51)) AS quote (maker, price);
UPDATE insurance_fund SET balance = 50 WHERE market_id = '00000000-0000-4000-8000-00000000000a';
DO $$
DECLARE
    settled text := (SELECT string_agg(concat_ws(' ', maker_id, fill_price::real, fill_size::real), ', ' ORDER BY created_at)
                     FROM settle_auction('00000000-0000-4000-8000-0000000000c1'));
BEGIN
    PERFORM pg_temp.expect('auction', settled, 'best 100.1 1, second 100.5 1, 100 0.5, 0.5');
    PERFORM pg_temp.expect('auction, settled again', (SELECT count(*) FROM settle_auction('00000000-0000-4000-8000-0000000000c1')), 4::bigint);
    PERFORM pg_temp.expect('insurance fund after the auction',
        (SELECT balance FROM insurance_fund WHERE market_id = '00000000-0000-4000-8000-00000000000a'), 0::numeric);
END $$;
