-- Set a watermark to what it is, back too: for a chain whose slots have begun anew.
-- $1 market id, $2 account, $3 watched slot, $4 watched at, $5 verified slot, $6 verified at
UPDATE public.oracle_watermarks
SET watched_slot = $3, watched_at = $4, verified_slot = $5, verified_at = $6
WHERE market_id = $1 AND account = $2
