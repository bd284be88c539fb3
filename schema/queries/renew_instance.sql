-- Renew a daemon's row; at first, take over a row that nobody has renewed for a day, else make one.
-- $1 id, $2 host, $3 version, $4 markets, $5 started, $6 ready, $7 rows in its spool, $8 whether it ends
WITH renewed AS (
    UPDATE public.daemon_instances
    SET seen_at = clock_timestamp(), ready = $6, spool_rows = $7, markets = $4,
        stopped_at = CASE WHEN $8 THEN clock_timestamp() END
    WHERE id = $1
    RETURNING id
), gone AS (
    SELECT id FROM public.daemon_instances
    WHERE seen_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (SELECT FROM renewed)
    ORDER BY seen_at LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE public.daemon_instances AS d
    SET id = $1, host = $2, version = $3, markets = $4, started_at = $5, seen_at = clock_timestamp(),
        stopped_at = CASE WHEN $8 THEN clock_timestamp() END, ready = $6, spool_rows = $7
    FROM gone WHERE d.id = gone.id
    RETURNING d.id
)
INSERT INTO public.daemon_instances (id, host, version, markets, started_at, ready, spool_rows, stopped_at)
SELECT $1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN clock_timestamp() END
WHERE NOT EXISTS (SELECT FROM renewed) AND NOT EXISTS (SELECT FROM taken)
ON CONFLICT (id) DO NOTHING
