-- New versions of markets' parameters; another daemon's row of the same version stands. In the order of the key, so that
-- two daemons that start at once never wait for each other in a circle.
-- Arrays of $1 market ids, $2 versions, $3 in force from, $4 methods, $5 parameters (JSON text)
INSERT INTO public.funding_parameters (market_id, version, in_force_from, method, parameters)
SELECT p.market_id, p.version, p.in_force_from, p.method, p.parameters::jsonb
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::text[], $5::text[])
     AS p (market_id, version, in_force_from, method, parameters)
ORDER BY p.market_id, p.version
ON CONFLICT (market_id, version) DO NOTHING
