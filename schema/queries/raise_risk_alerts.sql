-- Alerts of positions whose health has crossed a level downwards, one for each level; resolved once it has risen five
-- per cent above it, so that a health that trembles on a level raises one alert.
-- $1 market id
WITH levels (level, severity) AS (
    VALUES (300, 'low'), (200, 'medium'), (150, 'high'), (100, 'critical')
), live AS (
    SELECT p.id, p.user_id, p.market_id, p.health_factor, l.level, l.severity, 'health_' || l.level AS alert_type
    FROM public.positions AS p CROSS JOIN levels AS l
    WHERE p.market_id = $1 AND p.closed_at IS NULL AND NOT p.is_liquidated AND p.health_factor IS NOT NULL
), resolved AS (
    UPDATE public.risk_alerts AS a SET is_resolved = true, resolved_at = clock_timestamp()
    FROM live
    WHERE a.position_id = live.id AND a.alert_type = live.alert_type AND NOT a.is_resolved
      AND live.health_factor > live.level * 1.05
)
INSERT INTO public.risk_alerts (user_id, market_id, position_id, alert_type, severity, message)
SELECT live.user_id, live.market_id, live.id, live.alert_type, live.severity::public.risk_level,
       format('health %s %% is at or below %s %%', round(live.health_factor, 2), live.level)
FROM live
WHERE live.health_factor <= live.level
  AND NOT EXISTS (SELECT FROM public.risk_alerts AS a
                  WHERE a.position_id = live.id AND a.alert_type = live.alert_type AND NOT a.is_resolved)
RETURNING position_id, alert_type, message
