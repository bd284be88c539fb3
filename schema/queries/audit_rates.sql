-- Funding rates of one market with their parameters, and print and mark that they name as far as these are kept.
-- $1 market id, $2 from, $3 to (both included)
SELECT r.*, r.funding_type::text AS kind, f.parameters::text AS parameters, p.price AS print_price, k.mark_price AS stored_mark,
       (SELECT b.funding_rate FROM public.funding_rates AS b
        WHERE b.market_id = $1 AND b.created_at < r.created_at ORDER BY b.created_at DESC LIMIT 1) AS previous_rate
FROM public.funding_rates AS r
LEFT JOIN public.funding_parameters AS f ON f.market_id = r.market_id AND f.version = r.parameter_version
LEFT JOIN public.oracle_prices AS p
    ON p.market_id = r.market_id AND p.created_at = r.oracle_publish_time AND p.slot = r.oracle_slot
LEFT JOIN public.mark_prices AS k ON k.market_id = r.market_id AND k.created_at = r.created_at
WHERE r.market_id = $1 AND r.created_at >= $2 AND r.created_at <= $3
ORDER BY r.created_at
