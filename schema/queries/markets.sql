-- The markets with these symbols, and what the operator wishes of them.
-- $1 symbols
SELECT id, symbol, funding_interval, max_funding_rate, current_funding_rate, last_funding_time, is_active,
       halted_at, halted_reason, initial_margin_ratio, maintenance_margin_ratio, (metadata -> 'pricing')::text AS pricing
FROM public.markets
WHERE symbol = ANY ($1::text[])
