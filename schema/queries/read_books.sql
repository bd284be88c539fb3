-- The live book of markets, each side's best levels as deep as its impact notional, and the newest trade.
-- Live: limit and post_only, pending or partially filled, unexpired, something left of it. An index-only scan a side.
-- $1 market ids, $2 impact notionals (quote units), $3 the instant, $4 most orders looked at per side,
-- $5 age above which a trade says nothing (s)
SELECT m.id AS market_id,
       bid.prices AS bid_prices, bid.sizes AS bid_sizes, bid.looked AS bids_looked,
       ask.prices AS ask_prices, ask.sizes AS ask_sizes, ask.looked AS asks_looked,
       trade.price AS trade_price, trade.created_at AS trade_time
FROM unnest($1::uuid[], $2::numeric[]) AS m (id, notional)
CROSS JOIN LATERAL (
    SELECT array_agg(level.price ORDER BY level.price DESC) AS prices,
           array_agg(level.size ORDER BY level.price DESC) AS sizes,
           coalesce(max(level.looked), 0) AS looked
    FROM (
        SELECT w.price, sum(w.remaining_size) AS size, max(w.looked) AS looked
        FROM (
            SELECT o.price, o.remaining_size, count(*) OVER () AS looked,
                   sum(o.price * o.remaining_size) OVER (ORDER BY o.price DESC ROWS UNBOUNDED PRECEDING)
                   - o.price * o.remaining_size AS before
            FROM (
                SELECT price, remaining_size FROM public.orders
                WHERE market_id = m.id AND side = 'long' AND status IN ('pending', 'partially_filled')
                  AND order_type IN ('limit', 'post_only') AND remaining_size > 0
                  AND (expires_at IS NULL OR expires_at > $3)
                ORDER BY price DESC LIMIT $4
            ) AS o
        ) AS w
        WHERE w.before < m.notional
        GROUP BY w.price
    ) AS level
) AS bid
CROSS JOIN LATERAL (
    SELECT array_agg(level.price ORDER BY level.price) AS prices,
           array_agg(level.size ORDER BY level.price) AS sizes,
           coalesce(max(level.looked), 0) AS looked
    FROM (
        SELECT w.price, sum(w.remaining_size) AS size, max(w.looked) AS looked
        FROM (
            SELECT o.price, o.remaining_size, count(*) OVER () AS looked,
                   sum(o.price * o.remaining_size) OVER (ORDER BY o.price ROWS UNBOUNDED PRECEDING)
                   - o.price * o.remaining_size AS before
            FROM (
                SELECT price, remaining_size FROM public.orders
                WHERE market_id = m.id AND side = 'short' AND status IN ('pending', 'partially_filled')
                  AND order_type IN ('limit', 'post_only') AND remaining_size > 0
                  AND (expires_at IS NULL OR expires_at > $3)
                ORDER BY price LIMIT $4
            ) AS o
        ) AS w
        WHERE w.before < m.notional
        GROUP BY w.price
    ) AS level
) AS ask
LEFT JOIN LATERAL (
    SELECT price, created_at FROM public.trades
    WHERE market_id = m.id AND created_at <= $3 AND created_at >= $3 - $5 * interval '1 second'
    ORDER BY created_at DESC, id DESC LIMIT 1
) AS trade ON true
