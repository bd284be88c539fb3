-- The gaps of these markets that have not been read to their end, newest first.
-- $1 market ids, $2 whether those that were asked for by `backfill` (else: all others)
SELECT id, market_id, account, source::text, cause, state, from_slot, to_slot, from_time, to_time, cursor, cursor_slot,
       found, inserted, rejected
FROM public.oracle_gaps
WHERE market_id = ANY($1::uuid[]) AND state IN ('open', 'healing') AND (cause = 'backfill') = $2
ORDER BY to_time DESC, id DESC
