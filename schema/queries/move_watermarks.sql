-- Move watermarks forward, never back. In the order of the key, so that two daemons never wait in a circle.
-- $1 market ids, $2 accounts, $3 watched slots, $4 watched at (µs), $5 verified slots, $6 verified at (µs)
INSERT INTO public.oracle_watermarks AS mark (market_id, account, watched_slot, watched_at, verified_slot, verified_at)
SELECT w.market_id, w.account,
       w.watched_slot, timestamptz 'epoch' + w.watched_at * interval '1 microsecond',
       w.verified_slot, timestamptz 'epoch' + w.verified_at * interval '1 microsecond'
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS w (market_id, account, watched_slot, watched_at, verified_slot, verified_at)
ORDER BY w.market_id, w.account
ON CONFLICT (market_id, account) DO UPDATE SET
    watched_slot = greatest(mark.watched_slot, excluded.watched_slot),
    watched_at = greatest(mark.watched_at, excluded.watched_at),
    verified_slot = greatest(mark.verified_slot, excluded.verified_slot),
    verified_at = greatest(mark.verified_at, excluded.verified_at)
