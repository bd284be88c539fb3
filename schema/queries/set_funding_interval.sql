-- For the demonstration: markets whose funding can be watched.
-- $1 symbols, $2 seconds
UPDATE public.markets SET funding_interval = $2 WHERE symbol = ANY ($1::text[]) AND funding_interval <> $2
