-- What the market's row says of its newest funding; it never goes back in time.
-- $1 market id, $2 rate, $3 boundary
UPDATE public.markets SET current_funding_rate = $2, last_funding_time = $3
WHERE id = $1 AND (last_funding_time IS NULL OR last_funding_time < $3)
