-- market_stats and user_stats: recomputed for today, yesterday, and every day that late rows touched.
CREATE OR REPLACE FUNCTION public.note_changed_days() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.statistics_due (day) SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date FROM inserted;
    ELSE
        INSERT INTO public.statistics_due (day) SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date FROM removed;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.note_changed_days() IS 'Trigger of trades: notes the days whose figures changed';
CALL pg_temp.create_series_trigger('trades', 'trades_days_insert', 'INSERT', 'note_changed_days');
CALL pg_temp.create_series_trigger('trades', 'trades_days_update', 'UPDATE', 'note_changed_days');
CALL pg_temp.create_series_trigger('trades', 'trades_days_delete', 'DELETE', 'note_changed_days');

-- The oracle's day: of the daemon's own prints, and where there are none, of other writers'.
CREATE OR REPLACE FUNCTION public.oracle_day(p_market_id uuid, p_day date)
RETURNS TABLE (open numeric, high numeric, low numeric, close numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (array_agg(price ORDER BY created_at, slot))[1], max(price), min(price),
           (array_agg(price ORDER BY created_at DESC, slot DESC))[1]
    FROM public.oracle_prices
    WHERE market_id = p_market_id AND created_at >= p_day::timestamp AT TIME ZONE 'UTC'
      AND created_at < (p_day + 1)::timestamp AT TIME ZONE 'UTC' AND verdict IS DISTINCT FROM 'quarantined'
    GROUP BY source <> 'external' ORDER BY source <> 'external' DESC LIMIT 1
$$;
COMMENT ON FUNCTION public.oracle_day(uuid, date) IS 'Part of refresh_statistics: open, high, low, close of a UTC day';

CREATE OR REPLACE FUNCTION public.refresh_market_day(p_day date) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO public.market_stats AS s (market_id, date, open_price, high_price, low_price, close_price, volume, volume_usd,
                                          trades_count, open_interest, funding_rate)
    SELECT m.id, p_day, oracle.open, oracle.high, oracle.low, oracle.close, traded.volume, traded.value, traded.n,
           held.size, coalesce(funding.rate, 0)
    FROM public.markets AS m
    LEFT JOIN LATERAL public.oracle_day(m.id, p_day) AS oracle ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(t.size), 0) AS volume, coalesce(sum(t.value), 0) AS value, count(*)::integer AS n
        FROM public.trades AS t WHERE t.market_id = m.id AND t.created_at >= p_day::timestamp AT TIME ZONE 'UTC'
                                  AND t.created_at < (p_day + 1)::timestamp AT TIME ZONE 'UTC') AS traded
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(p.size), 0) AS size FROM public.positions AS p
        WHERE p.market_id = m.id AND p.side = 'long' AND p.size > 0 AND p.closed_at IS NULL AND NOT p.is_liquidated
          AND p_day = (now() AT TIME ZONE 'UTC')::date) AS held
    LEFT JOIN LATERAL (
        SELECT f.funding_rate AS rate FROM public.funding_rates AS f
        WHERE f.market_id = m.id AND f.created_at >= p_day::timestamp AT TIME ZONE 'UTC'
          AND f.created_at < (p_day + 1)::timestamp AT TIME ZONE 'UTC' ORDER BY f.created_at DESC LIMIT 1) AS funding ON true
    WHERE oracle.open IS NOT NULL OR traded.n > 0 OR funding.rate IS NOT NULL
    ON CONFLICT (market_id, date) DO UPDATE SET
        open_price = coalesce(excluded.open_price, s.open_price), high_price = coalesce(excluded.high_price, s.high_price),
        low_price = coalesce(excluded.low_price, s.low_price), close_price = coalesce(excluded.close_price, s.close_price),
        volume = excluded.volume, volume_usd = excluded.volume_usd, trades_count = excluded.trades_count,
        open_interest = CASE WHEN p_day = (now() AT TIME ZONE 'UTC')::date THEN excluded.open_interest ELSE s.open_interest END,
        funding_rate = excluded.funding_rate
$$;
COMMENT ON FUNCTION public.refresh_market_day(date) IS 'Part of refresh_statistics: market_stats of one UTC day';

CREATE OR REPLACE FUNCTION public.refresh_user_day(p_day date) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH traded AS (
        SELECT t.user_id, sum(t.size) AS volume, sum(t.value) AS value, count(*)::integer AS n,
               coalesce(sum(t.pnl), 0) AS pnl, sum(t.fees) AS fees
        FROM public.trades AS t WHERE t.created_at >= p_day::timestamp AT TIME ZONE 'UTC'
                                  AND t.created_at < (p_day + 1)::timestamp AT TIME ZONE 'UTC' GROUP BY t.user_id
    ), held AS (
        SELECT p.user_id, sum(p.unrealized_pnl) AS pnl FROM public.active_positions AS p
        WHERE p_day = (now() AT TIME ZONE 'UTC')::date GROUP BY p.user_id
    )
    INSERT INTO public.user_stats AS s (user_id, date, total_volume, total_volume_usd, trades_count, realized_pnl,
                                        unrealized_pnl, fees_paid)
    SELECT user_id, p_day, coalesce(t.volume, 0), coalesce(t.value, 0), coalesce(t.n, 0), coalesce(t.pnl, 0),
           coalesce(h.pnl, 0), coalesce(t.fees, 0)
    FROM traded AS t FULL JOIN held AS h USING (user_id)
    UNION ALL
    SELECT o.user_id, p_day, 0, 0, 0, 0, 0, 0 FROM public.user_stats AS o
    WHERE o.date = p_day AND o.trades_count > 0 AND NOT EXISTS (SELECT FROM traded AS t WHERE t.user_id = o.user_id)
      AND NOT EXISTS (SELECT FROM held AS h WHERE h.user_id = o.user_id)
    ON CONFLICT (user_id, date) DO UPDATE SET
        total_volume = excluded.total_volume, total_volume_usd = excluded.total_volume_usd,
        trades_count = excluded.trades_count, realized_pnl = excluded.realized_pnl, fees_paid = excluded.fees_paid,
        unrealized_pnl = CASE WHEN p_day = (now() AT TIME ZONE 'UTC')::date THEN excluded.unrealized_pnl ELSE s.unrealized_pnl END
$$;
COMMENT ON FUNCTION public.refresh_user_day(date) IS 'Part of refresh_statistics: user_stats of one UTC day';

CREATE OR REPLACE FUNCTION public.refresh_statistics() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    days date[];
    d date;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('quantdesk statistics', 0)) THEN
        RETURN 0;
    END IF;
    WITH taken AS (DELETE FROM public.statistics_due RETURNING day)
    SELECT array_agg(DISTINCT due.day) INTO days
    FROM (SELECT day FROM taken UNION ALL VALUES (today), (today - 1)) AS due (day);
    FOREACH d IN ARRAY days LOOP
        PERFORM public.refresh_market_day(d), public.refresh_user_day(d);
    END LOOP;
    RETURN cardinality(days);
END $$;
COMMENT ON FUNCTION public.refresh_statistics() IS
    'Recomputes market_stats and user_stats of today, yesterday, and the days that late rows touched since the last call; returns how many days. Safe to call at any time; by several at once, one works and the others return 0';
