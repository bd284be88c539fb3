-- Marks since an instant, oldest first.
-- $1 after, $2 market symbol or NULL
SELECT m.symbol AS market, k.created_at, k.mark_price, k.oracle_price, k.funding_rate, k.status::text AS status
FROM public.mark_prices AS k
JOIN public.markets AS m ON m.id = k.market_id
WHERE k.created_at > $1 AND ($2::text IS NULL OR m.symbol = $2)
ORDER BY k.created_at, m.symbol
LIMIT 1000
