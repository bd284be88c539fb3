-- How far a gap has been read: whatever lies after the cursor is committed. One that is given up stays so.
-- $1 id, $2 state, $3 cursor, $4 cursor slot, $5 found, $6 inserted, $7 rejected, $8 reason, $9 source
UPDATE public.oracle_gaps
SET state = $2, cursor = $3, cursor_slot = $4, found = $5, inserted = $6, rejected = $7, reason = $8,
    source = $9::public.oracle_source,
    updated_at = clock_timestamp()
WHERE id = $1 AND state <> 'unrecoverable'
