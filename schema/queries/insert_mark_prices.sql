-- A batch of marks; the first writer's row of an instant stands, and none is written for an instant to come.
-- $1 market ids, $2 instants (µs), $3 marks, $4 index prices, $5 publish times (s), $6 slots, $7 funding rates,
-- $8 seconds to funding, $9 funding intervals (s), $10 methods, $11 parameter versions, $12 statuses
INSERT INTO public.mark_prices
    (market_id, created_at, mark_price, oracle_price, oracle_publish_time, oracle_slot, funding_rate,
     seconds_to_funding, funding_interval, method, parameter_version, status, basis_count)
SELECT m.market_id,
       timestamptz 'epoch' + m.instant * interval '1 microsecond',
       m.mark_price,
       m.index_price,
       timestamptz 'epoch' + m.publish_time * interval '1 second',
       m.slot, m.funding_rate, m.seconds_to_funding, m.funding_interval, m.method, m.parameter_version, m.status, 0
FROM unnest($1::uuid[], $2::bigint[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[], $7::numeric[],
            $8::numeric[], $9::integer[], $10::text[], $11::integer[], $12::text[])
     AS m (market_id, instant, mark_price, index_price, publish_time, slot, funding_rate, seconds_to_funding,
           funding_interval, method, parameter_version, status)
WHERE timestamptz 'epoch' + m.instant * interval '1 microsecond' <= clock_timestamp()
ORDER BY m.market_id, m.instant
ON CONFLICT (market_id, created_at) DO NOTHING
