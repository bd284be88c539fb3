-- Note a gap, unless an unfinished one of the feed holds all of it; its id, or no row.
-- $1 market id, $2 account, $3 source, $4 cause, $5 from slot, $6 to slot, $7 from time, $8 to time, $9 state, $10 reason
INSERT INTO public.oracle_gaps (market_id, account, source, cause, from_slot, to_slot, from_time, to_time, state, reason)
SELECT $1, $2, $3::public.oracle_source, $4, $5, $6, $7, $8, $9, $10
WHERE $9 <> 'open' OR NOT EXISTS (
    SELECT FROM public.oracle_gaps AS g
    WHERE g.market_id = $1 AND g.account = $2 AND g.state = 'open' AND g.cause <> 'backfill' AND $4 <> 'backfill'
      AND (g.from_slot <= $5 AND g.to_slot >= $6 AND $5 <= $6
           OR ($5 IS NULL AND g.from_slot IS NULL AND g.from_time <= $7 AND g.to_time >= $8))
)
RETURNING id
