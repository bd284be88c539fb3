-- The prints of some markets, published in [$2, $3), in the order of their key; other teams' rows left out.
-- $1 market ids, $2 from, $3 to
SELECT m.symbol, p.created_at, p.slot, p.received_at, p.source::text AS source, p.verdict::text AS verdict, p.exponent,
       p.price, p.confidence, p.ema_price, p.ema_confidence
FROM public.oracle_prices AS p
JOIN public.markets AS m ON m.id = p.market_id
WHERE p.market_id = ANY($1::uuid[]) AND p.created_at >= $2 AND p.created_at < $3 AND p.source <> 'external'
ORDER BY m.symbol, p.created_at, p.slot
