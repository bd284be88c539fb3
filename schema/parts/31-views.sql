-- Views of positions, orders and markets. All run with the rights of who asks (security_invoker), but for order_book
-- and market_summary: these add up private rows of everybody, show no id of user, order or position, and belong to
-- quantdesk_views, a role that may read just those tables.

CREATE OR REPLACE VIEW public.active_positions WITH (security_invoker = true) AS
SELECT p.id, p.user_id, p.market_id, p.position_account, p.side, p.size, p.entry_price,
       mark.mark_price AS current_price,
       p.margin, p.leverage,
       live.pnl AS unrealized_pnl,
       p.realized_pnl, p.funding_fees, p.trading_fees, p.is_liquidated, p.liquidation_price,
       public.health_of(p.margin, live.pnl, p.size, mark.mark_price, m.maintenance_margin_ratio) AS health_factor,
       round((p.margin + live.pnl) * 100 / (p.size * mark.mark_price), 6) AS margin_ratio,
       p.closed_at, p.metadata, p.created_at, p.updated_at,
       u.wallet_address, m.symbol, m.base_asset, m.quote_asset, m.maintenance_margin_ratio, m.liquidation_fee_ratio,
       mark.created_at AS marked_at
FROM public.positions AS p
JOIN public.users AS u ON u.id = p.user_id
JOIN public.markets AS m ON m.id = p.market_id
LEFT JOIN public.mark_price_heads AS mark ON mark.market_id = p.market_id
    AND mark.created_at >= now() - make_interval(secs => public.schema_setting('mark_fresh_seconds'))
CROSS JOIN LATERAL (SELECT public.unrealized_pnl(p.side, p.size, p.entry_price, mark.mark_price)) AS live (pnl)
WHERE p.size > 0 AND p.closed_at IS NULL AND NOT p.is_liquidated;
COMMENT ON VIEW public.active_positions IS 'Open positions at the latest mark: current_price, unrealized_pnl (quote units), health_factor and margin_ratio (per cent) are live, and NULL while there is no mark younger than mark_fresh_seconds';

CREATE OR REPLACE VIEW public.pending_orders WITH (security_invoker = true) AS
SELECT o.*, u.wallet_address, m.symbol, m.base_asset, m.quote_asset
FROM public.orders AS o
JOIN public.users AS u ON u.id = o.user_id
JOIN public.markets AS m ON m.id = o.market_id
WHERE o.status IN ('pending', 'partially_filled') AND (o.expires_at IS NULL OR o.expires_at > now());
COMMENT ON VIEW public.pending_orders IS 'Orders that may still be filled: pending or partially filled, not expired; without expires_at they never expire';

CREATE OR REPLACE VIEW public.user_portfolio WITH (security_invoker = true) AS
SELECT u.id, u.wallet_address, u.total_volume, u.total_pnl, u.total_fees_paid,
       money.total_balance, money.total_locked, money.balances,
       held.active_positions, held.total_margin, held.total_unrealized_pnl
FROM public.users AS u
CROSS JOIN LATERAL (
    SELECT coalesce(sum(b.balance), 0) AS total_balance, coalesce(sum(b.locked_balance), 0) AS total_locked,
           coalesce(jsonb_object_agg(b.asset, b.balance), '{}') AS balances
    FROM public.user_balances AS b WHERE b.user_id = u.id
) AS money
CROSS JOIN LATERAL (
    SELECT count(*) AS active_positions, coalesce(sum(p.margin), 0) AS total_margin,
           CASE WHEN count(*) = count(p.unrealized_pnl) THEN coalesce(sum(p.unrealized_pnl), 0) END AS total_unrealized_pnl
    FROM public.active_positions AS p WHERE p.user_id = u.id
) AS held;
COMMENT ON VIEW public.user_portfolio IS 'Money and positions of a user: sums over assets (units of each; balances has them one by one), margin and live P&L in quote units, NULL while a mark is missing';

CREATE OR REPLACE VIEW public.risk_dashboard WITH (security_invoker = true) AS
SELECT p.id, p.user_id, p.wallet_address, p.symbol, p.side, p.size, p.leverage, p.health_factor, p.margin_ratio,
       p.unrealized_pnl,
       CASE WHEN p.health_factor IS NULL THEN 'unknown'
            WHEN p.health_factor <= 150 THEN 'critical'
            WHEN p.health_factor <= 200 THEN 'high'
            WHEN p.health_factor <= 300 THEN 'medium'
            ELSE 'low' END AS risk_level
FROM public.active_positions AS p
ORDER BY p.health_factor;
COMMENT ON VIEW public.risk_dashboard IS 'Open positions, the worst first: risk_level is critical up to a health of 150, high up to 200, medium up to 300, low beyond, unknown without a mark. For service_role';

CREATE OR REPLACE VIEW public.order_book AS
SELECT o.market_id, m.symbol, o.side, o.price, sum(o.remaining_size) AS size, count(*) AS orders
FROM public.orders AS o
JOIN public.markets AS m ON m.id = o.market_id
WHERE o.status IN ('pending', 'partially_filled') AND o.order_type IN ('limit', 'post_only')
  AND o.remaining_size > 0 AND (o.expires_at IS NULL OR o.expires_at > now())
GROUP BY o.market_id, m.symbol, o.side, o.price;
COMMENT ON VIEW public.order_book IS 'Depth by market, side (long: bids, short: asks) and price level: size in base units, number of orders';

CREATE OR REPLACE VIEW public.market_summary AS
SELECT m.*,
       oracle.price AS oracle_price, oracle.created_at AS oracle_published_at,
       mark.mark_price, mark.created_at AS marked_at,
       held.total_open_interest, held.active_traders, held.avg_leverage, held.long_interest, held.short_interest,
       CASE WHEN mark.created_at >= now() - make_interval(secs => public.schema_setting('mark_fresh_seconds'))
            THEN held.long_interest * mark.mark_price - held.long_cost + held.short_cost - held.short_interest * mark.mark_price
       END AS total_unrealized_pnl,
       traded.volume_24h, traded.volume_usd_24h, traded.trades_24h
FROM public.markets AS m
LEFT JOIN public.oracle_price_heads AS oracle ON oracle.market_id = m.id
LEFT JOIN public.mark_price_heads AS mark ON mark.market_id = m.id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(p.size), 0) AS total_open_interest, count(DISTINCT p.user_id) AS active_traders,
           coalesce(avg(p.leverage), 0) AS avg_leverage,
           coalesce(sum(p.size) FILTER (WHERE p.side = 'long'), 0) AS long_interest,
           coalesce(sum(p.size) FILTER (WHERE p.side = 'short'), 0) AS short_interest,
           coalesce(sum(p.size * p.entry_price) FILTER (WHERE p.side = 'long'), 0) AS long_cost,
           coalesce(sum(p.size * p.entry_price) FILTER (WHERE p.side = 'short'), 0) AS short_cost
    FROM public.positions AS p
    WHERE p.market_id = m.id AND p.size > 0 AND p.closed_at IS NULL AND NOT p.is_liquidated
) AS held
CROSS JOIN LATERAL (
    SELECT coalesce(sum(t.size), 0) AS volume_24h, coalesce(sum(t.value), 0) AS volume_usd_24h, count(*) AS trades_24h
    FROM public.trades AS t WHERE t.market_id = m.id AND t.created_at >= now() - interval '24 hours'
) AS traded;
COMMENT ON VIEW public.market_summary IS 'Every market with its newest prices, open interest (base units, both sides added), traders, and the trades of 24 hours';
