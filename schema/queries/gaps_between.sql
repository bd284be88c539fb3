-- The gaps of a market that touch [$2, $3), oldest first.
-- $1 market id, $2 from, $3 to
SELECT id, market_id, account, source::text, cause, state, from_slot, to_slot, from_time, to_time, cursor, cursor_slot,
       found, inserted, rejected, reason
FROM public.oracle_gaps
WHERE market_id = $1 AND to_time >= $2 AND from_time < $3
ORDER BY from_time, id
