-- When a market was first observed: its oldest sample or rate; NULL: never.
-- $1 market id
SELECT least((SELECT min(created_at) FROM public.premium_samples WHERE market_id = $1),
             (SELECT min(created_at) FROM public.funding_rates WHERE market_id = $1)) AS first_observed
