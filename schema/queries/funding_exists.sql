-- Whether a boundary of a market is settled.
-- $1 market id, $2 boundary
SELECT EXISTS (SELECT FROM public.funding_rates WHERE market_id = $1 AND created_at = $2)
