-- Marks of one market with all their inputs, their parameters, and the print that they name as far as it is kept.
-- $1 market id, $2 from, $3 to (both included), $4 at most
SELECT k.*, k.ema_state::text AS ema_text, f.parameters::text AS parameters, p.price AS print_price,
       -- What may have been the newest rate: of the last two boundaries, or the newest that was settled by then.
       (SELECT array_agg(r.funding_rate) FROM (
            SELECT funding_rate FROM public.funding_rates
            WHERE market_id = $1 AND created_at <= k.created_at ORDER BY created_at DESC LIMIT 2) AS r)
       || ARRAY(SELECT coalesce((SELECT funding_rate FROM public.funding_rates
                                 WHERE market_id = $1 AND created_at <= k.created_at
                                   AND settled_at <= k.created_at - lag * interval '1 second'
                                 ORDER BY created_at DESC LIMIT 1), 0)
                FROM (VALUES (0), (5)) AS lags (lag)) AS newest_rates
FROM public.mark_prices AS k
LEFT JOIN public.funding_parameters AS f ON f.market_id = k.market_id AND f.version = k.parameter_version
LEFT JOIN public.oracle_prices AS p
    ON p.market_id = k.market_id AND p.created_at = k.oracle_publish_time AND p.slot = k.oracle_slot
WHERE k.market_id = $1 AND k.created_at >= $2 AND k.created_at <= $3
ORDER BY k.created_at LIMIT $4
