-- How far these markets' feeds have been watched and read.
-- $1 market ids
SELECT market_id, account, watched_slot, watched_at, verified_slot, verified_at
FROM public.oracle_watermarks
WHERE market_id = ANY($1::uuid[])
