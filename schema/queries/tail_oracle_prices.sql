-- Oracle prices of [$1, $2) by their publish time, for consumers elsewhere.
SELECT p.created_at, m.symbol, p.slot, p.price, p.confidence, p.exponent, p.ema_price, p.ema_confidence,
       p.source::text AS source, p.verdict::text AS verdict, p.received_at
FROM public.oracle_prices AS p JOIN public.markets AS m ON m.id = p.market_id
WHERE p.created_at >= $1 AND p.created_at < $2
ORDER BY p.created_at, p.slot
