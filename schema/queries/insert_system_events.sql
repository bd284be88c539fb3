-- A batch of events.
-- $1 ids, $2 instants (µs), $3 types, $4 severities, $5 data (JSON text), $6 market symbols or null
INSERT INTO public.system_events (id, created_at, event_type, severity, event_data, market_id)
SELECT e.id, timestamptz 'epoch' + e.instant * interval '1 microsecond', e.type, e.severity::public.event_severity,
       e.data::jsonb, m.id
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
     AS e (id, instant, type, severity, data, market)
LEFT JOIN public.markets AS m ON m.symbol = e.market
ON CONFLICT (id, created_at) DO NOTHING
