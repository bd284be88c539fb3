-- The ranges that `backfill` has read to their end since the first of some others, which are unfinished, was noted.
-- $1 market ids, $2 source, $3 ids of the unfinished ones
SELECT id, market_id, account, source::text, cause, state, from_slot, to_slot, from_time, to_time, cursor, cursor_slot,
       found, inserted, rejected
FROM public.oracle_gaps
WHERE market_id = ANY($1::uuid[]) AND source = $2::public.oracle_source AND cause = 'backfill' AND state = 'closed'
  AND updated_at >= (SELECT min(created_at) FROM public.oracle_gaps WHERE id = ANY($3::bigint[]))
