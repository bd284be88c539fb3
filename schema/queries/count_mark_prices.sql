-- How many rows each minute of [$1, $2) holds; a minute by its number since the Unix epoch.
SELECT floor(extract(epoch FROM created_at) / 60)::bigint AS minute, count(*) AS rows
FROM public.mark_prices WHERE created_at >= $1 AND created_at < $2 GROUP BY 1
