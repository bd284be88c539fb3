-- Premium samples, in a transaction that holds the markets' rows. One whose interval is settled already is `late`.
-- $1 market ids, $2 instants (µs), $3 premiums, $4 index prices, $5 publish times (s), $6 slots, $7 mark instants (µs),
-- $8 statuses, $9 impact bids, $10 impact asks
INSERT INTO public.premium_samples
    (market_id, created_at, premium, index_price, oracle_publish_time, oracle_slot, mark_created_at, status,
     impact_bid, impact_ask)
SELECT s.market_id, i.instant, s.premium, s.index_price,
       timestamptz 'epoch' + s.publish_time * interval '1 second',
       s.slot,
       timestamptz 'epoch' + s.mark_instant * interval '1 microsecond',
       CASE WHEN EXISTS (SELECT FROM public.funding_rates AS f
                         WHERE f.market_id = s.market_id AND f.created_at > i.instant
                           AND f.created_at - f.funding_interval * interval '1 second' <= i.instant)
            THEN 'late' ELSE s.status END,
       s.impact_bid, s.impact_ask
FROM unnest($1::uuid[], $2::bigint[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::text[], $9::numeric[], $10::numeric[])
     AS s (market_id, sampled, premium, index_price, publish_time, slot, mark_instant, status, impact_bid, impact_ask)
CROSS JOIN LATERAL (SELECT timestamptz 'epoch' + s.sampled * interval '1 microsecond' AS instant) AS i
WHERE i.instant <= clock_timestamp()
ORDER BY s.market_id, s.sampled
ON CONFLICT (market_id, created_at) DO NOTHING
