-- The newest funding rates of one market, the newest first.
-- $1 market id, $2 at most
SELECT created_at, funding_rate, status, reason, funding_type::text AS kind
FROM public.funding_rates WHERE market_id = $1 ORDER BY created_at DESC LIMIT $2
