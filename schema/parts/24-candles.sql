-- Candles of the oracle price: 1 m, 1 h, 1 d, kept for ever.
--
-- With the Timescale licence they are continuous aggregates; elsewhere a rollup table, exact at once, late prints
-- included. A bucket is made of the daemon's own prints; where it has none, of other writers' (`own` false: history, and
-- rows of teams that write here too). Quarantined prints are in no candle.
--
-- A trigger keeps the minutes. Hours and days are kept too once they lie wholly before candle_progress.folded_until, which
-- upkeep() moves on; the view makes those of the last hours from minutes. So a new print costs one row, not three.

CREATE TABLE IF NOT EXISTS public.candle_rollups (
    market_id   uuid           NOT NULL REFERENCES public.markets (id),
    resolution  text           NOT NULL CHECK (resolution IN ('1m', '1h', '1d')),
    bucket      timestamptz    NOT NULL,
    own         boolean        NOT NULL,
    open        numeric(38,12) NOT NULL,
    high        numeric(38,12) NOT NULL,
    low         numeric(38,12) NOT NULL,
    close       numeric(38,12) NOT NULL,
    n           bigint         NOT NULL CHECK (n > 0),
    open_at     timestamptz    NOT NULL,
    open_slot   bigint         NOT NULL,
    close_at    timestamptz    NOT NULL,
    close_slot  bigint         NOT NULL,
    PRIMARY KEY (market_id, resolution, bucket, own)
) WITH (fillfactor = 80);
COMMENT ON TABLE public.candle_rollups IS 'Candles as a trigger of oracle_prices keeps them; empty where continuous aggregates do. Read the view candles';
COMMENT ON COLUMN public.candle_rollups.market_id IS 'The market';
COMMENT ON COLUMN public.candle_rollups.resolution IS 'Width of the bucket: 1m, 1h or 1d';
COMMENT ON COLUMN public.candle_rollups.bucket IS 'Start of the bucket, UTC';
COMMENT ON COLUMN public.candle_rollups.own IS 'True: of the daemon''s prints; false: of other writers''';
COMMENT ON COLUMN public.candle_rollups.open IS 'First price by publish time and slot, quote units';
COMMENT ON COLUMN public.candle_rollups.high IS 'Highest price, quote units';
COMMENT ON COLUMN public.candle_rollups.low IS 'Lowest price, quote units';
COMMENT ON COLUMN public.candle_rollups.close IS 'Last price by publish time and slot, quote units';
COMMENT ON COLUMN public.candle_rollups.n IS 'Number of prints';
COMMENT ON COLUMN public.candle_rollups.open_at IS 'Publish time of the first print';
COMMENT ON COLUMN public.candle_rollups.open_slot IS 'Slot of the first print';
COMMENT ON COLUMN public.candle_rollups.close_at IS 'Publish time of the last print';
COMMENT ON COLUMN public.candle_rollups.close_slot IS 'Slot of the last print';

CREATE TABLE IF NOT EXISTS public.candle_progress (
    only_row        boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    folded_until    timestamptz NOT NULL CHECK (folded_until = date_bin('1 hour', folded_until, '2000-01-01Z'))
);
COMMENT ON TABLE public.candle_progress IS 'How far minutes have been folded into hours and days; one row';
COMMENT ON COLUMN public.candle_progress.only_row IS 'Always true';
COMMENT ON COLUMN public.candle_progress.folded_until IS 'Hours and days that end here or before stand in candle_rollups; later ones are made of its minutes';
-- Where hours and days were kept to their last print so far, the unfinished ones are made of minutes from now on.
WITH begun AS (
    INSERT INTO public.candle_progress (folded_until) VALUES (date_bin('1 hour', now(), '2000-01-01Z'))
    ON CONFLICT DO NOTHING RETURNING folded_until
)
DELETE FROM public.candle_rollups AS c USING begun
WHERE c.resolution = '1h' AND c.bucket + interval '1 hour' > begun.folded_until
   OR c.resolution = '1d' AND c.bucket + interval '1 day' > begun.folded_until;

CREATE OR REPLACE FUNCTION public.candle_widths() RETURNS TABLE (resolution text, width interval)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('1m', interval '1 minute'), ('1h', interval '1 hour'), ('1d', interval '1 day')
$$;
COMMENT ON FUNCTION public.candle_widths() IS 'The resolutions of candles';

-- Rows in the order of their key: two batches at once take the row locks in the same order. The lock on candle_progress
-- keeps fold_candles() waiting until this transaction's minutes can be seen, and no hour misses any of them. Without that row,
-- as in a copy of the schema alone, minutes are kept all the same: no print is ever refused for a candle.
CREATE OR REPLACE FUNCTION public.keep_candles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    folded timestamptz;
BEGIN
    SELECT folded_until INTO folded FROM public.candle_progress FOR SHARE;
    INSERT INTO public.candle_rollups AS c (market_id, resolution, bucket, own, open, high, low, close, n,
                                            open_at, open_slot, close_at, close_slot)
    SELECT market_id, w.resolution, date_bin(w.width, created_at, '2000-01-01Z') AS bucket, source <> 'external' AS own,
           (array_agg(price ORDER BY created_at, slot))[1], max(price), min(price),
           (array_agg(price ORDER BY created_at DESC, slot DESC))[1], count(*),
           min(created_at), (array_agg(slot ORDER BY created_at, slot))[1],
           max(created_at), (array_agg(slot ORDER BY created_at DESC, slot DESC))[1]
    FROM inserted CROSS JOIN public.candle_widths() AS w
    WHERE verdict IS DISTINCT FROM 'quarantined'
      AND (w.resolution = '1m' OR date_bin(w.width, created_at, '2000-01-01Z') + w.width <= folded)
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (market_id, resolution, bucket, own) DO UPDATE SET
        open = CASE WHEN (excluded.open_at, excluded.open_slot) < (c.open_at, c.open_slot) THEN excluded.open ELSE c.open END,
        close = CASE WHEN (excluded.close_at, excluded.close_slot) > (c.close_at, c.close_slot) THEN excluded.close ELSE c.close END,
        open_slot = CASE WHEN (excluded.open_at, excluded.open_slot) < (c.open_at, c.open_slot) THEN excluded.open_slot ELSE c.open_slot END,
        close_slot = CASE WHEN (excluded.close_at, excluded.close_slot) > (c.close_at, c.close_slot) THEN excluded.close_slot ELSE c.close_slot END,
        open_at = least(c.open_at, excluded.open_at), close_at = greatest(c.close_at, excluded.close_at),
        high = greatest(c.high, excluded.high), low = least(c.low, excluded.low), n = c.n + excluded.n;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.keep_candles() IS 'Trigger of oracle_prices: adds new prints to candle_rollups';

-- A change or removal of prints within retention: their buckets are made anew. (Older ones stay as they were: candles
-- outlive their prints.)
CREATE OR REPLACE FUNCTION public.remake_candles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept_since timestamptz := now() - (SELECT retention FROM public.time_series WHERE table_name = 'oracle_prices');
    folded timestamptz;
    touched record;
BEGIN
    SELECT folded_until INTO folded FROM public.candle_progress FOR SHARE;
    FOR touched IN
        SELECT DISTINCT market_id, w.resolution, w.width, date_bin(w.width, created_at, '2000-01-01Z') AS bucket
        FROM removed CROSS JOIN public.candle_widths() AS w
        WHERE date_bin(w.width, created_at, '2000-01-01Z') >= coalesce(kept_since, '-infinity')
          AND (w.resolution = '1m' OR date_bin(w.width, created_at, '2000-01-01Z') + w.width <= folded)
        ORDER BY 1, 2, 4
    LOOP
        DELETE FROM public.candle_rollups AS c
        WHERE c.market_id = touched.market_id AND c.resolution = touched.resolution AND c.bucket = touched.bucket;
        INSERT INTO public.candle_rollups
        SELECT market_id, touched.resolution, touched.bucket, source <> 'external',
               (array_agg(price ORDER BY created_at, slot))[1], max(price), min(price),
               (array_agg(price ORDER BY created_at DESC, slot DESC))[1], count(*),
               min(created_at), (array_agg(slot ORDER BY created_at, slot))[1],
               max(created_at), (array_agg(slot ORDER BY created_at DESC, slot DESC))[1]
        FROM public.oracle_prices
        WHERE market_id = touched.market_id AND verdict IS DISTINCT FROM 'quarantined'
          AND created_at >= touched.bucket AND created_at < touched.bucket + touched.width
        GROUP BY market_id, source <> 'external';
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.remake_candles() IS 'Trigger of oracle_prices: makes the candles of changed or removed prints anew';

-- A function, called as it is: the planner asks it, and knows how few the minutes are.
CREATE OR REPLACE FUNCTION public.candles_folded_until() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT folded_until FROM public.candle_progress
$$;
COMMENT ON FUNCTION public.candles_folded_until() IS 'Part of candles: candle_progress.folded_until';

-- A day is made of the hours of it that are folded, and of minutes.
CREATE OR REPLACE VIEW public.unfolded_candles WITH (security_invoker = true) AS
SELECT c.market_id, w.resolution, date_bin(w.width, c.bucket, '2000-01-01Z') AS bucket, c.own,
       (array_agg(c.open ORDER BY c.open_at, c.open_slot))[1]::numeric(38,12) AS open,
       max(c.high)::numeric(38,12) AS high, min(c.low)::numeric(38,12) AS low,
       (array_agg(c.close ORDER BY c.close_at DESC, c.close_slot DESC))[1]::numeric(38,12) AS close, sum(c.n)::bigint AS n,
       min(c.open_at) AS open_at, (array_agg(c.open_slot ORDER BY c.open_at, c.open_slot))[1] AS open_slot,
       max(c.close_at) AS close_at, (array_agg(c.close_slot ORDER BY c.close_at DESC, c.close_slot DESC))[1] AS close_slot
FROM (VALUES ('1h', interval '1 hour'), ('1d', interval '1 day')) AS w (resolution, width)
JOIN public.candle_rollups AS c ON c.resolution = '1m' AND c.bucket >= public.candles_folded_until()
    OR w.resolution = '1d' AND c.resolution = '1h'
       AND c.bucket >= date_bin('1 day', public.candles_folded_until(), '2000-01-01Z')
GROUP BY c.market_id, w.resolution, date_bin(w.width, c.bucket, '2000-01-01Z'), c.own;
COMMENT ON VIEW public.unfolded_candles IS 'Part of candles: hours and days that candle_rollups does not hold yet, as it will';

CREATE OR REPLACE FUNCTION public.fold_candles(at timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    goal timestamptz := date_bin('1 hour', at, '2000-01-01Z');
    made integer;
BEGIN
    PERFORM FROM public.candle_progress WHERE folded_until < goal FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    INSERT INTO public.candle_rollups (market_id, resolution, bucket, own, open, high, low, close, n,
                                       open_at, open_slot, close_at, close_slot)
    SELECT c.* FROM public.markets AS m
    CROSS JOIN LATERAL (SELECT * FROM public.unfolded_candles AS u WHERE u.market_id = m.id) AS c
    JOIN public.candle_widths() AS w USING (resolution)
    WHERE c.bucket + w.width <= goal;
    GET DIAGNOSTICS made = ROW_COUNT;
    UPDATE public.candle_progress SET folded_until = goal;
    RETURN made;
END $$;
COMMENT ON FUNCTION public.fold_candles(timestamptz) IS 'Part of upkeep: adds the hours and days that have ended to candle_rollups; how many';

CREATE OR REPLACE PROCEDURE pg_temp.create_continuous_aggregate(resolution text, width interval)
LANGUAGE plpgsql AS $$
DECLARE
    name text := 'candles_' || resolution;
    timescale_schema text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                              WHERE e.extname = 'timescaledb');
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format($view$
        CREATE MATERIALIZED VIEW public.%I WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
        SELECT market_id, %I.time_bucket(%L::interval, created_at) AS bucket,
               (array_agg(price ORDER BY created_at, slot) FILTER (WHERE source <> 'external'))[1] AS own_open,
               max(price) FILTER (WHERE source <> 'external') AS own_high,
               min(price) FILTER (WHERE source <> 'external') AS own_low,
               (array_agg(price ORDER BY created_at DESC, slot DESC) FILTER (WHERE source <> 'external'))[1] AS own_close,
               count(*) FILTER (WHERE source <> 'external') AS own_n,
               (array_agg(price ORDER BY created_at, slot))[1] AS any_open, max(price) AS any_high, min(price) AS any_low,
               (array_agg(price ORDER BY created_at DESC, slot DESC))[1] AS any_close, count(*) AS any_n
        FROM public.oracle_prices
        WHERE verdict IS DISTINCT FROM 'quarantined'
        GROUP BY 1, 2
        WITH NO DATA $view$, name, timescale_schema, width);
    EXECUTE format('COMMENT ON VIEW public.%I IS %L', name, 'Candles of ' || resolution || ', a continuous aggregate; read the view candles');
END $$;

-- The trigger that keeps the rollup, or the continuous aggregates; then the one view over whichever it is.
DO $$
BEGIN
    IF public.schema_mode() = 'timescale' THEN
        CALL pg_temp.create_continuous_aggregate('1m', '1 minute');
        CALL pg_temp.create_continuous_aggregate('1h', '1 hour');
        CALL pg_temp.create_continuous_aggregate('1d', '1 day');
        CREATE OR REPLACE VIEW public.candles WITH (security_invoker = true) AS
        -- No join and no CTE: a condition on the market, the resolution or the bucket reaches each aggregate.
        SELECT market_id, '1m'::text AS resolution, bucket,
               CASE WHEN own_n > 0 THEN own_open ELSE any_open END AS open, CASE WHEN own_n > 0 THEN own_high ELSE any_high END AS high,
               CASE WHEN own_n > 0 THEN own_low ELSE any_low END AS low, CASE WHEN own_n > 0 THEN own_close ELSE any_close END AS close,
               CASE WHEN own_n > 0 THEN own_n ELSE any_n END AS n
        FROM public.candles_1m
        UNION ALL
        SELECT market_id, '1h'::text AS resolution, bucket,
               CASE WHEN own_n > 0 THEN own_open ELSE any_open END AS open, CASE WHEN own_n > 0 THEN own_high ELSE any_high END AS high,
               CASE WHEN own_n > 0 THEN own_low ELSE any_low END AS low, CASE WHEN own_n > 0 THEN own_close ELSE any_close END AS close,
               CASE WHEN own_n > 0 THEN own_n ELSE any_n END AS n
        FROM public.candles_1h
        UNION ALL
        SELECT market_id, '1d'::text AS resolution, bucket,
               CASE WHEN own_n > 0 THEN own_open ELSE any_open END AS open, CASE WHEN own_n > 0 THEN own_high ELSE any_high END AS high,
               CASE WHEN own_n > 0 THEN own_low ELSE any_low END AS low, CASE WHEN own_n > 0 THEN own_close ELSE any_close END AS close,
               CASE WHEN own_n > 0 THEN own_n ELSE any_n END AS n
        FROM public.candles_1d;
    ELSE
        CALL pg_temp.create_series_trigger('oracle_prices', 'oracle_prices_candles', 'INSERT', 'keep_candles');
        CALL pg_temp.create_series_trigger('oracle_prices', 'oracle_prices_candles_update', 'UPDATE', 'remake_candles');
        CALL pg_temp.create_series_trigger('oracle_prices', 'oracle_prices_candles_delete', 'DELETE', 'remake_candles');
        CREATE OR REPLACE VIEW public.candles WITH (security_invoker = true) AS
        SELECT c.market_id, c.resolution, c.bucket, c.open, c.high, c.low, c.close, c.n
        FROM public.candle_rollups AS c
        WHERE c.own OR NOT EXISTS (SELECT FROM public.candle_rollups AS o WHERE o.market_id = c.market_id
                                   AND o.resolution = c.resolution AND o.bucket = c.bucket AND o.own)
        UNION ALL
        SELECT c.market_id, c.resolution, c.bucket, c.open, c.high, c.low, c.close, c.n
        FROM (SELECT DISTINCT ON (market_id, resolution, bucket) market_id, resolution, bucket, open, high, low, close, n
              FROM public.unfolded_candles ORDER BY market_id, resolution, bucket, own DESC) AS c;
    END IF;
END $$;
COMMENT ON VIEW public.candles IS 'Candles of the oracle price: market_id, resolution (1m, 1h, 1d), bucket (start, UTC), open, high, low, close (quote units), n (prints)';
