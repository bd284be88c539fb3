-- How many prints of a market are stored in each of these slots.
-- $1 market id, $2 slots, $3 earliest publish time, $4 latest publish time
SELECT slot, count(*) AS prints
FROM public.oracle_prices
WHERE market_id = $1 AND slot = ANY($2::bigint[]) AND created_at BETWEEN $3 AND $4 AND source <> 'external'
GROUP BY slot
