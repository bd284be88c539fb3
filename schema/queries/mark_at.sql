-- The mark of one market at one instant.
-- $1 market id, $2 instant
SELECT mark_price FROM public.mark_prices WHERE market_id = $1 AND created_at = $2
