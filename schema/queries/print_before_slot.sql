-- Whether a market has a print that was posted before a slot, within the four weeks before a time.
-- $1 market id, $2 slot, $3 time
SELECT EXISTS (
    SELECT FROM public.oracle_prices
    WHERE market_id = $1 AND slot BETWEEN 0 AND $2 - 1 AND created_at BETWEEN $3::timestamptz - interval '28 days' AND $3
      AND source <> 'external'
)
