-- Open positions of a market at a mark, in one statement: price, profit and loss, health, margin ratio, liquidation
-- price; only those that change. Health as health_of() has it. Long: the price at which equity is the maintenance
-- requirement, (entry · size − margin) / (size · (1 − r)); short: (entry · size + margin) / (size · (1 + r)).
-- $1 market id, $2 mark
WITH live AS (
    SELECT p.id, $2::numeric AS mark, p.margin, p.size,
           public.unrealized_pnl(p.side, p.size, p.entry_price, $2::numeric) AS pnl,
           public.health_of(p.margin, public.unrealized_pnl(p.side, p.size, p.entry_price, $2::numeric), p.size, $2::numeric,
                            m.maintenance_margin_ratio) AS health,
           greatest(CASE p.side
               WHEN 'long' THEN (p.entry_price * p.size - p.margin) / nullif(p.size * (1 - m.maintenance_margin_ratio / 10000.0), 0)
               ELSE (p.entry_price * p.size + p.margin) / (p.size * (1 + m.maintenance_margin_ratio / 10000.0)) END, 0) AS liquidation
    FROM public.positions AS p JOIN public.markets AS m ON m.id = p.market_id
    WHERE p.market_id = $1 AND p.closed_at IS NULL AND NOT p.is_liquidated AND p.size > 0
)
UPDATE public.positions AS p
SET current_price = live.mark, unrealized_pnl = live.pnl, health_factor = live.health,
    margin_ratio = round((live.margin + live.pnl) * 100 / (live.size * live.mark), 6),
    liquidation_price = round(live.liquidation, 12)
FROM live
WHERE p.id = live.id AND (p.current_price IS DISTINCT FROM live.mark OR p.health_factor IS DISTINCT FROM live.health)
