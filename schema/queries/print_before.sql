-- The newest print of ours that had been received by an instant.
-- $1 market id, $2 instant
SELECT price, created_at, slot, verdict::text AS verdict FROM public.oracle_prices
WHERE market_id = $1 AND created_at <= $2 AND received_at <= $2 AND source <> 'external'
ORDER BY created_at DESC, slot DESC LIMIT 1
