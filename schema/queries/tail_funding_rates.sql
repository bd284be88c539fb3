-- Funding rates whose boundary lies in [$1, $2), for consumers elsewhere.
SELECT f.created_at, m.symbol, f.funding_rate, f.premium_index, f.oracle_price, f.mark_price, f.funding_interval,
       f.coverage, f.funding_type::text AS funding_type, f.method, f.status, f.reason, f.settled_at
FROM public.funding_rates AS f JOIN public.markets AS m ON m.id = f.market_id
WHERE f.created_at >= $1 AND f.created_at < $2
ORDER BY f.created_at
