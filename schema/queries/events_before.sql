-- What was said of a market, or of the daemon as a whole, in the ten minutes before an instant; newest first.
-- $1 market id, $2 instant
SELECT created_at, event_type, event_data::text AS data FROM public.system_events
WHERE created_at > $2::timestamptz - interval '10 minutes' AND created_at <= $2::timestamptz + interval '2 seconds'
  AND (market_id = $1 OR market_id IS NULL)
ORDER BY created_at DESC LIMIT 5
