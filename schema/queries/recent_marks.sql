-- What the newest marks of markets say of their books: what averages begin with after a restart.
-- $1 market ids, $2 after, $3 up to
SELECT market_id, created_at, oracle_price, best_bid, best_ask, ema_state::text AS ema_state
FROM public.mark_prices
WHERE market_id = ANY ($1::uuid[]) AND created_at > $2 AND created_at <= $3
ORDER BY market_id, created_at
