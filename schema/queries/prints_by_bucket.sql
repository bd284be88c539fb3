-- How many prints a market has in each part of a time: part numbers from 0.
-- $1 market id, $2 from, $3 to, $4 seconds a part
SELECT floor(extract(epoch FROM created_at - $2::timestamptz) / $4::double precision)::int AS part, count(*) AS prints
FROM public.oracle_prices
WHERE market_id = $1 AND created_at >= $2 AND created_at < $3 AND source <> 'external'
GROUP BY 1
ORDER BY 1
