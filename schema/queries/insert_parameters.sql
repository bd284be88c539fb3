-- A new version of a market's parameters; another daemon's row of the same version stands.
-- $1 market id, $2 version, $3 in force from, $4 method, $5 parameters (JSON text)
INSERT INTO public.funding_parameters (market_id, version, in_force_from, method, parameters)
VALUES ($1, $2, $3, $4, $5::text::jsonb)
ON CONFLICT (market_id, version) DO NOTHING
