-- Marks of [$1, $2), for consumers elsewhere.
SELECT k.created_at, m.symbol, k.mark_price, k.oracle_price, k.oracle_publish_time, k.oracle_slot, k.funding_rate,
       k.method, k.parameter_version, k.status
FROM public.mark_prices AS k JOIN public.markets AS m ON m.id = k.market_id
WHERE k.created_at >= $1 AND k.created_at < $2
ORDER BY k.created_at
