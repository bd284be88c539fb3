-- A funding rate set by hand. One that stands is not overwritten.
-- $1 market id, $2 boundary, $3 rate, $4 manual or emergency, $5 actor, $6 reason, $7 interval (s)
INSERT INTO public.funding_rates (market_id, created_at, funding_rate, funding_type, status, actor, reason, funding_interval)
VALUES ($1, $2, $3, $4::text::public.funding_type, 'manual', $5, $6, $7)
ON CONFLICT (market_id, created_at) DO NOTHING
RETURNING created_at
