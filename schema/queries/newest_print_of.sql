-- Publish time and slot of a market's newest print from some sources, published between two times and received before a
-- third; no row: none.
-- $1 market id, $2 sources, $3 from, $4 to, $5 received before
SELECT created_at, slot FROM public.oracle_prices
WHERE market_id = $1 AND slot >= 0 AND created_at BETWEEN $3 AND $4 AND received_at < $5
  AND source = ANY($2::text[]::public.oracle_source[])
ORDER BY created_at DESC, slot DESC LIMIT 1
