-- A batch of prints, raw integers scaled here, each stored once: a print that is there already is left alone.
-- In the order of the key, so that two daemons with the same prints never wait for each other in a circle.
-- $1 market ids, $2 publish times (s), $3 slots, $4 received (µs), $5 sources, $6 verdicts, $7 exponents,
-- $8 prices, $9 confidences, $10 EMA prices, $11 EMA confidences (text: they may exceed a bigint)
INSERT INTO public.oracle_prices
    (market_id, created_at, slot, received_at, source, verdict, exponent, price, confidence, ema_price, ema_confidence)
SELECT p.market_id,
       timestamptz 'epoch' + p.publish_time * interval '1 second',
       p.slot,
       timestamptz 'epoch' + p.received * interval '1 microsecond',
       p.source::public.oracle_source,
       p.verdict::public.oracle_verdict,
       p.exponent,
       p.price * s.scale,
       p.confidence * s.scale,
       nullif(p.ema_price, 0) * s.scale,
       CASE WHEN p.ema_price <> 0 THEN p.ema_confidence::numeric * s.scale END
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::smallint[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])
     AS p (market_id, publish_time, slot, received, source, verdict, exponent, price, confidence, ema_price, ema_confidence)
CROSS JOIN LATERAL (
    SELECT ('{1,0.1,0.01,0.001,0.0001,0.00001,0.000001,0.0000001,0.00000001,0.000000001,0.0000000001,0.00000000001,'
            '0.000000000001}'::numeric[])[1 - p.exponent] AS scale
) AS s
ORDER BY p.market_id, p.publish_time, p.slot
ON CONFLICT (market_id, created_at, slot) DO NOTHING
