-- Hold a market's row for settlement; the database's own clock with it.
-- FOR NO KEY UPDATE: against samples (FOR SHARE) and other settlements, not against rows that merely name the market.
-- $1 market id
SELECT current_funding_rate, last_funding_time, halted_at, halted_reason, is_active, clock_timestamp() AS now
FROM public.markets WHERE id = $1 FOR NO KEY UPDATE
