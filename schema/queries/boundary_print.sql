-- The print that prices a boundary: the newest one of our own, accepted or wide, that was published by then and is not
-- dead at it. Two prints of one second: the later slot.
-- $1 market id, $2 boundary, $3 oldest publish time that is not dead
SELECT price, created_at, slot
FROM public.oracle_prices
WHERE market_id = $1 AND created_at <= $2 AND created_at >= $3
  AND verdict IN ('accepted', 'wide') AND source <> 'external'
ORDER BY created_at DESC, slot DESC
LIMIT 1
