-- The print that prices a boundary: the newest one of our own, accepted or wide, that was published by then and is not
-- dead at it; a quarantined one where a mark has used it by then. Two prints of one second: the later slot.
-- $1 market id, $2 boundary, $3 oldest publish time that is not dead
SELECT p.price, p.created_at, p.slot
FROM public.oracle_prices AS p
WHERE p.market_id = $1 AND p.created_at <= $2 AND p.created_at >= $3 AND p.source <> 'external'
  AND (p.verdict IN ('accepted', 'wide')
       OR EXISTS (SELECT FROM public.mark_prices AS k
                  WHERE k.market_id = $1 AND k.created_at >= p.created_at AND k.created_at <= $2
                    AND k.oracle_publish_time = p.created_at AND k.oracle_slot = p.slot))
ORDER BY p.created_at DESC, p.slot DESC
LIMIT 1
