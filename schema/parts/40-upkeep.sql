-- Upkeep of the time series: partitions made ahead, rows beyond retention dropped. The daemon calls upkeep() now and
-- then; so may pg_cron. With nothing due it costs a few catalogue reads.
--
-- Native partitions of a series, oldest first:  _past [MINVALUE, a)  …  one per chunk_interval  …  _future [z, MAXVALUE)
-- so a row of any age is accepted and the planner knows the order. (A default partition would cost it.)

CREATE OR REPLACE FUNCTION public.series_partitions(root text)
RETURNS TABLE (name text, lower timestamptz, upper timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT leaf.relname::text,
           coalesce(substring(bound FROM 'FROM \(''(.*?)''\)')::timestamptz, '-infinity'),
           coalesce(substring(bound FROM 'TO \(''(.*?)''\)')::timestamptz, 'infinity')
    FROM pg_inherits AS i
    JOIN pg_class AS leaf ON leaf.oid = i.inhrelid
    CROSS JOIN LATERAL pg_get_expr(leaf.relpartbound, leaf.oid) AS bound
    WHERE i.inhparent = to_regclass('public.' || quote_ident(root))
    ORDER BY 2
$$;
COMMENT ON FUNCTION public.series_partitions(text) IS 'Native partitions of a time series and the time that each covers';

-- Creates the partition of [lower, upper) and moves into it what had gathered in `spill`, a detached future partition.
-- Rows are moved leaf to leaf: through the root they would fire its triggers a second time.
CREATE OR REPLACE FUNCTION public.add_partition(root text, lower timestamptz, upper timestamptz, spill text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    leaf text := format('%s_p%s', root, to_char(lower, 'YYYYMMDD"t"HH24'));
    columns text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = to_regclass('public.' || quote_ident(root))
                       AND attnum > 0 AND NOT attisdropped AND attgenerated = '');
BEGIN
    EXECUTE format('CREATE TABLE partitions.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                   leaf, root, lower, upper);
    PERFORM public.guard_partition(root, leaf);
    IF spill IS NOT NULL THEN
        EXECUTE format('WITH moved AS (DELETE FROM partitions.%1$I WHERE created_at >= %2$L AND created_at < %3$L RETURNING *)'
                       ' INSERT INTO partitions.%4$I (%5$s) SELECT %5$s FROM moved', spill, lower, upper, leaf, columns);
    END IF;
END $$;
COMMENT ON FUNCTION public.add_partition(text, timestamptz, timestamptz, text) IS 'Part of upkeep: one more partition';

-- Nobody reads or writes a partition but through its root, whatever default privileges the server gives to new tables.
CREATE OR REPLACE FUNCTION public.guard_partition(root text, leaf text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON partitions.%I FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle', leaf);
    IF (SELECT private FROM public.time_series WHERE table_name = root) THEN
        EXECUTE format('ALTER TABLE partitions.%I ENABLE ROW LEVEL SECURITY', leaf);
    END IF;
END $$;
COMMENT ON FUNCTION public.guard_partition(text, text) IS 'Part of upkeep: takes all rights on a partition away';

CREATE OR REPLACE FUNCTION public.attach_edge(root text, leaf text, lower text, upper text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION partitions.%I FOR VALUES FROM (%s) TO (%s)',
                   root, leaf, lower, upper);
END $$;
COMMENT ON FUNCTION public.attach_edge(text, text, text, text) IS 'Part of upkeep: attaches a past or future partition';

-- The first partitions of a series: the whole time that rows are kept for, and chunks_ahead.
CREATE OR REPLACE FUNCTION public.found_partitions(series public.time_series, at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    root text := series.table_name;
    width interval := series.chunk_interval;
    start timestamptz := date_bin(width, at - coalesce(series.retention, width), '2000-01-03Z');
BEGIN
    EXECUTE format('CREATE TABLE partitions.%I PARTITION OF public.%I FOR VALUES FROM (MINVALUE) TO (%L)',
                   root || '_past', root, start);
    EXECUTE format('CREATE TABLE partitions.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (MAXVALUE)',
                   root || '_future', root, start);
    PERFORM public.guard_partition(root, root || '_past'), public.guard_partition(root, root || '_future');
END $$;
COMMENT ON FUNCTION public.found_partitions(public.time_series, timestamptz) IS 'Part of upkeep: past and future partition of a new series';

-- Splits `future` until chunks_ahead partitions beyond the running one stand. Returns how many were added.
CREATE OR REPLACE FUNCTION public.split_future(series public.time_series, at timestamptz)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    root text := series.table_name;
    width interval := series.chunk_interval;
    edge timestamptz := (SELECT lower FROM public.series_partitions(root) WHERE upper = 'infinity');
    goal timestamptz := date_bin(width, at, '2000-01-03Z') + width * (series.chunks_ahead + 1);
    added integer := 0;
BEGIN
    IF edge >= goal THEN
        RETURN 0;
    END IF;
    EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', root);
    EXECUTE format('ALTER TABLE public.%I DETACH PARTITION partitions.%I', root, root || '_future');
    WHILE edge < goal LOOP
        PERFORM public.add_partition(root, edge, edge + width, root || '_future');
        edge := edge + width;
        added := added + 1;
    END LOOP;
    PERFORM public.attach_edge(root, root || '_future', quote_literal(edge), 'MAXVALUE');
    RETURN added;
END $$;
COMMENT ON FUNCTION public.split_future(public.time_series, timestamptz) IS 'Part of upkeep: makes partitions ahead';

-- Drops the partitions that lie wholly beyond retention, and the rows beyond it that arrived late. `past` then reaches
-- up to the oldest partition left, so that no gap refuses a row. Returns how many partitions were dropped.
CREATE OR REPLACE FUNCTION public.drop_expired(series public.time_series, at timestamptz)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    root text := series.table_name;
    cutoff timestamptz := at - series.retention;
    expired text[] := ARRAY(SELECT name FROM public.series_partitions(root) WHERE upper <= cutoff AND lower > '-infinity');
    edge timestamptz := (SELECT max(upper) FROM public.series_partitions(root) WHERE name = ANY (expired));
    leaf text;
BEGIN
    EXECUTE format('DELETE FROM partitions.%I WHERE created_at < %L', root || '_past', cutoff);
    IF cardinality(expired) = 0 THEN
        RETURN 0;
    END IF;
    EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', root);
    EXECUTE format('ALTER TABLE public.%I DETACH PARTITION partitions.%I', root, root || '_past');
    FOREACH leaf IN ARRAY expired LOOP
        EXECUTE format('DROP TABLE partitions.%I', leaf);
    END LOOP;
    PERFORM public.attach_edge(root, root || '_past', 'MINVALUE', quote_literal(edge));
    RETURN cardinality(expired);
END $$;
COMMENT ON FUNCTION public.drop_expired(public.time_series, timestamptz) IS 'Part of upkeep: retention of native partitions';

CREATE OR REPLACE FUNCTION public.drop_expired_chunks(series public.time_series, at timestamptz)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    timescale_schema text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                              WHERE e.extname = 'timescaledb');
    dropped integer;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I.drop_chunks(%L::regclass, older_than => %L::timestamptz)',
                   timescale_schema, 'public.' || series.table_name, at - series.retention) INTO dropped;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION public.drop_expired_chunks(public.time_series, timestamptz) IS 'Part of upkeep: retention of hypertables';

CREATE OR REPLACE FUNCTION public.upkeep_series(series public.time_series, at timestamptz)
RETURNS TABLE (action text, objects integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF public.schema_mode() = 'plain' THEN
        RETURN QUERY SELECT 'made ahead', public.split_future(series, at);
        IF series.retention IS NOT NULL THEN
            RETURN QUERY SELECT 'dropped', public.drop_expired(series, at);
        END IF;
    ELSIF series.retention IS NOT NULL THEN
        RETURN QUERY SELECT 'dropped', public.drop_expired_chunks(series, at);
    END IF;
END $$;
COMMENT ON FUNCTION public.upkeep_series(public.time_series, timestamptz) IS 'Part of upkeep: one time series, as of a given time';

-- A lock that cannot be had at once is left for the next call: the wait is shorter than deadlock_timeout, so it is
-- never a writer that gets cancelled.
CREATE OR REPLACE FUNCTION public.upkeep_at(at timestamptz)
RETURNS TABLE (table_name text, action text, objects integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '700ms' AS $$
DECLARE
    series public.time_series;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('quantdesk upkeep', 0)) THEN
        RETURN QUERY SELECT '*'::text, 'busy: another upkeep is running'::text, 0;
        RETURN;
    END IF;
    FOR series IN SELECT s.* FROM public.time_series AS s WHERE to_regclass('public.' || quote_ident(s.table_name)) IS NOT NULL
                  ORDER BY s.table_name LOOP
        BEGIN
            RETURN QUERY SELECT series.table_name, done.action, done.objects
                         FROM public.upkeep_series(series, at) AS done WHERE done.objects > 0;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN QUERY SELECT series.table_name, 'busy: ' || SQLERRM, 0;
        END;
    END LOOP;
    BEGIN
        -- Last: writers of prints wait for it until this transaction ends.
        RETURN QUERY SELECT 'candle_rollups', 'folded', made FROM public.fold_candles(at) AS made WHERE made > 0;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN QUERY SELECT 'candle_rollups', 'busy: ' || SQLERRM, 0;
    END;
END $$;
COMMENT ON FUNCTION public.upkeep_at(timestamptz) IS 'upkeep() as of a given time, for the owner and for tests';

CREATE OR REPLACE FUNCTION public.upkeep()
RETURNS TABLE (table_name text, action text, objects integer)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.upkeep_at(clock_timestamp())
$$;
COMMENT ON FUNCTION public.upkeep() IS
    'Makes partitions ahead, drops what is beyond retention, folds candles; one row per thing done, or "busy: …" for what is left to the next call. Safe to call at any time, by several at once';

CREATE OR REPLACE FUNCTION public.upkeep_due()
RETURNS TABLE (table_name text, due text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.table_name, 'the rows of the future are not divided into partitions: upkeep() has not run for long'
    FROM public.time_series AS s
    WHERE public.schema_mode() = 'plain' AND to_regclass('public.' || quote_ident(s.table_name)) IS NOT NULL
      AND NOT EXISTS (SELECT FROM public.series_partitions(s.table_name) AS p WHERE p.upper = 'infinity' AND p.lower > now())
    UNION ALL
    SELECT s.table_name, format('%s partitions beyond retention (%s): upkeep() drops them', count(*), s.retention)
    FROM public.time_series AS s CROSS JOIN LATERAL public.series_partitions(s.table_name) AS p
    WHERE public.schema_mode() = 'plain' AND p.lower > '-infinity' AND p.upper <= now() - s.retention
    GROUP BY s.table_name, s.retention
    UNION ALL
    SELECT s.table_name, 'nothing is dropped: its rows reach back further than the default retention. To drop what is older:'
           || format(' UPDATE time_series SET retention = %L WHERE table_name = %L', c.old_value, s.table_name)
    FROM public.time_series AS s
    JOIN public.migration_changes AS c ON c.table_name = 'time_series' AND c.row_id = s.table_name AND c.column_name = 'retention'
    WHERE s.retention IS NULL
    UNION ALL
    SELECT 'market_stats', format('%s days to recompute: refresh_statistics() does', count(DISTINCT day))
    FROM public.statistics_due HAVING count(*) > 0
$$;
COMMENT ON FUNCTION public.upkeep_due() IS 'What upkeep() and refresh_statistics() would do now; no row: nothing';

-- A new series gets its first partitions here. One that has them is left to upkeep(): making the schema again drops nothing.
DO $$
DECLARE
    series public.time_series;
BEGIN
    FOR series IN SELECT s.* FROM public.time_series AS s
                  WHERE public.schema_mode() = 'plain' AND NOT EXISTS (SELECT FROM public.series_partitions(s.table_name)) LOOP
        PERFORM public.found_partitions(series, clock_timestamp()), public.split_future(series, clock_timestamp());
    END LOOP;
END $$;
