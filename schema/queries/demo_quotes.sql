-- The demonstration's orders of one market, replaced by new ones at once: nobody sees the book without them.
-- $1 user id, $2 market id, $3 sides, $4 prices, $5 sizes
WITH gone AS (
    DELETE FROM public.orders WHERE user_id = $1 AND market_id = $2
)
INSERT INTO public.orders (user_id, market_id, order_type, side, price, size, metadata)
SELECT $1, $2, 'limit', q.side::public.position_side, q.price, q.size, '{"demo": true}'
FROM unnest($3::text[], $4::numeric[], $5::numeric[]) AS q (side, price, size)
