-- A market of the configuration that the table has not got yet. One that it has is the operator's, and stays as it is.
-- $1 symbol, $2 base asset, $3 quote asset, $4 oracle account, $5 program id, $6 funding interval (s),
-- $7 highest funding rate (basis points per interval)
INSERT INTO public.markets (symbol, base_asset, quote_asset, oracle_account, program_id, funding_interval, max_funding_rate)
VALUES ($1, $2, $3, $4, nullif($5, ''), $6, $7)
ON CONFLICT (symbol) DO NOTHING
RETURNING id
