-- Markets of the configuration that the table has not got yet. Those that it has are the operator's, and stay as they are.
-- Arrays of $1 symbols, $2 base assets, $3 quote assets, $4 oracle accounts, $6 funding intervals (s),
-- $7 highest funding rates (basis points per interval); $5 program id
INSERT INTO public.markets (symbol, base_asset, quote_asset, oracle_account, program_id, funding_interval, max_funding_rate)
SELECT m.symbol, m.base_asset, m.quote_asset, m.oracle_account, nullif($5, ''), m.funding_interval, m.max_funding_rate
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $6::integer[], $7::numeric[])
     AS m (symbol, base_asset, quote_asset, oracle_account, funding_interval, max_funding_rate)
ORDER BY m.symbol
ON CONFLICT (symbol) DO NOTHING
RETURNING symbol
