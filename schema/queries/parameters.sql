-- Every version of a market's parameters, oldest first.
-- $1 market id
SELECT version, in_force_from, method, parameters::text AS parameters
FROM public.funding_parameters WHERE market_id = $1 ORDER BY version
