-- Open positions of a market, base units.
-- $1 market id
SELECT coalesce(sum(size) FILTER (WHERE side = 'long'), 0) AS long_size,
       coalesce(sum(size) FILTER (WHERE side = 'short'), 0) AS short_size
FROM public.positions
WHERE market_id = $1 AND closed_at IS NULL AND NOT is_liquidated AND size > 0
