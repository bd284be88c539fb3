-- What operators should know, newest first.
-- $1 from, $2 until (exclusive), $3 least severity (text), $4 market symbol or NULL, $5 event type's pattern (LIKE) or
-- NULL, $6 rows at most
SELECT e.id::text AS key, e.created_at, e.event_type, e.severity::text AS severity, m.symbol AS market,
       e.event_data::text AS data
FROM public.system_events AS e
LEFT JOIN public.markets AS m ON m.id = e.market_id
WHERE e.created_at >= $1 AND e.created_at < $2
  AND e.severity >= $3::text::public.event_severity
  AND ($4::text IS NULL OR m.symbol = $4)
  AND ($5::text IS NULL OR e.event_type LIKE $5)
ORDER BY e.created_at DESC, e.id
LIMIT $6
