-- An open position of the demonstration, where its user has none in the market.
-- $1 user id, $2 market id, $3 side (long, short), $4 size, $5 entry price
INSERT INTO public.positions (user_id, market_id, side, size, entry_price, margin, leverage, metadata)
SELECT $1, $2, $3::text::public.position_side, $4, $5, $4::numeric * $5::numeric / 5, 500, '{"demo": true}'
WHERE NOT EXISTS (SELECT FROM public.positions WHERE user_id = $1 AND market_id = $2)
