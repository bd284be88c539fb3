-- The newest oracle prices of markets.
-- $1 market ids
SELECT market_id, price FROM public.oracle_price_heads WHERE market_id = ANY ($1::uuid[])
