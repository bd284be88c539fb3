-- Prints that came in since an instant, oldest first.
-- $1 received after, $2 published after (bounds what is read), $3 market symbol or NULL
SELECT m.symbol AS market, p.created_at, p.slot, p.price, p.confidence, p.source::text AS source,
       p.verdict::text AS verdict, p.received_at
FROM public.oracle_prices AS p
JOIN public.markets AS m ON m.id = p.market_id
WHERE p.received_at > $1 AND p.created_at > $2 AND ($3::text IS NULL OR m.symbol = $3)
ORDER BY p.received_at, p.slot
LIMIT 1000
