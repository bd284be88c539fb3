-- A market's premium samples of [$2, $3), oldest first.
-- $1 market id, $2 from, $3 to
SELECT created_at, premium, status, index_price, oracle_publish_time, oracle_slot, mark_created_at, impact_bid, impact_ask
FROM public.premium_samples
WHERE market_id = $1 AND created_at >= $2 AND created_at < $3
ORDER BY created_at
