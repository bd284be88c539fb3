-- What a market's row says of its newest funding, where somebody else has written that rate; it never goes back in time.
-- $1 market id, $2 boundary
UPDATE public.markets AS m SET current_funding_rate = f.funding_rate, last_funding_time = f.created_at
FROM public.funding_rates AS f
WHERE m.id = $1 AND f.market_id = $1 AND f.created_at = $2 AND f.created_at <= clock_timestamp()
  AND (m.last_funding_time IS NULL OR m.last_funding_time < f.created_at)
