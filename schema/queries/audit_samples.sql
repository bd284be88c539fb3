-- Premium samples of [$2, $3) with their inputs, and the mark of their instant as far as it is kept; oldest first.
-- $1 market id, $2 from, $3 to
SELECT s.*, k.mark_price, k.oracle_price AS mark_index FROM public.premium_samples AS s
LEFT JOIN public.mark_prices AS k ON k.market_id = s.market_id AND k.created_at = s.created_at
WHERE s.market_id = $1 AND s.created_at >= $2 AND s.created_at < $3
ORDER BY s.created_at
