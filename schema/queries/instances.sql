-- The daemons of the last day, those that run first; seen_age in seconds by the database's clock.
SELECT id, host, version, markets, started_at, stopped_at, ready, spool_rows,
       extract(epoch FROM clock_timestamp() - seen_at)::double precision AS seen_age
FROM public.daemon_instances
WHERE seen_at > clock_timestamp() - interval '1 day'
ORDER BY stopped_at IS NOT NULL, seen_at DESC
LIMIT 100
