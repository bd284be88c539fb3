-- The rate of the newest interval of a market that ended before a boundary.
-- $1 market id, $2 boundary
SELECT funding_rate FROM public.funding_rates WHERE market_id = $1 AND created_at < $2 ORDER BY created_at DESC LIMIT 1
