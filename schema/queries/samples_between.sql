-- A market's premium samples of [$2, $3), oldest first.
-- $1 market id, $2 from, $3 to
SELECT created_at, premium, status, index_price
FROM public.premium_samples
WHERE market_id = $1 AND created_at >= $2 AND created_at < $3
ORDER BY created_at
