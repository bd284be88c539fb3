-- The marks that stand at one instant, whoever wrote them.
-- $1 market ids, $2 instant
SELECT market_id, created_at, mark_price, oracle_price, oracle_publish_time, oracle_slot, status
FROM public.mark_prices
WHERE market_id = ANY ($1::uuid[]) AND created_at = $2
