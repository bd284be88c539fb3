-- Halt a market, or resume it (both null). A market that is halted already keeps the time at which it was.
-- $1 symbol, $2 halted at, $3 reason
UPDATE public.markets
SET halted_at = CASE WHEN $2::timestamptz IS NULL THEN NULL ELSE coalesce(halted_at, $2) END, halted_reason = $3
WHERE symbol = $1 RETURNING halted_at
