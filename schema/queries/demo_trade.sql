-- One trade of the demonstration.
-- $1 user id, $2 market id, $3 side (buy, sell), $4 price, $5 size
INSERT INTO public.trades (user_id, market_id, side, price, size, metadata)
VALUES ($1, $2, $3::text::public.trade_side, $4, $5, '{"demo": true}')
