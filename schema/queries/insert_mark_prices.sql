-- A batch of marks; the first writer's row of an instant stands, and none is written for an instant to come.
-- $1 market ids, $2 instants (µs), $3 marks, $4 index prices, $5 publish times (s), $6 slots, $7 funding rates,
-- $8 seconds to funding, $9 funding intervals (s), $10 methods, $11 parameter versions, $12 statuses, $13 best bids,
-- $14 best asks, $15 last trades, $16 their times (µs), $17 basis sums, $18 their counts, $19 basis means,
-- $20 states of moving averages (JSON text), $21 digests
INSERT INTO public.mark_prices
    (market_id, created_at, mark_price, oracle_price, oracle_publish_time, oracle_slot, funding_rate,
     seconds_to_funding, funding_interval, method, parameter_version, status, best_bid, best_ask, last_trade_price,
     last_trade_at, basis_sum, basis_count, basis_mean, ema_state, digest)
SELECT m.market_id,
       timestamptz 'epoch' + m.instant * interval '1 microsecond',
       m.mark_price,
       m.index_price,
       timestamptz 'epoch' + m.publish_time * interval '1 second',
       m.slot, m.funding_rate, m.seconds_to_funding, m.funding_interval, m.method, m.parameter_version, m.status,
       m.best_bid, m.best_ask, m.last_trade_price,
       timestamptz 'epoch' + m.last_trade_at * interval '1 microsecond',
       m.basis_sum, m.basis_count, m.basis_mean, m.ema_state::jsonb, m.digest
FROM unnest($1::uuid[], $2::bigint[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[], $7::numeric[],
            $8::numeric[], $9::integer[], $10::text[], $11::integer[], $12::text[], $13::numeric[], $14::numeric[],
            $15::numeric[], $16::bigint[], $17::numeric[], $18::integer[], $19::numeric[], $20::text[], $21::bigint[])
     AS m (market_id, instant, mark_price, index_price, publish_time, slot, funding_rate, seconds_to_funding,
           funding_interval, method, parameter_version, status, best_bid, best_ask, last_trade_price, last_trade_at,
           basis_sum, basis_count, basis_mean, ema_state, digest)
WHERE timestamptz 'epoch' + m.instant * interval '1 microsecond' <= clock_timestamp()
ORDER BY m.market_id, m.instant
ON CONFLICT (market_id, created_at) DO NOTHING
