-- Slot and publish time of a market's newest print from its account, of before a slot, published between two times and
-- received before a third; no row: none.
-- $1 market id, $2 slot, $3 from, $4 to, $5 received before
SELECT slot, created_at FROM public.oracle_prices
WHERE market_id = $1 AND slot BETWEEN 0 AND $2 - 1 AND created_at BETWEEN $3 AND $4 AND received_at < $5
  AND source IN ('subscription', 'poll', 'chain')
ORDER BY created_at DESC, slot DESC LIMIT 1
