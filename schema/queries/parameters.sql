-- Every version of these markets' parameters, each market's oldest first.
-- $1 market ids
SELECT market_id, version, in_force_from, method, parameters::text AS parameters
FROM public.funding_parameters WHERE market_id = ANY ($1::uuid[]) ORDER BY market_id, version
