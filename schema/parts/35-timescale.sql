-- With TimescaleDB under its own licence: compression, retention and the refresh of candles as its background jobs.
-- (The Apache-2 build answers 0A000 to all of them: there upkeep() drops chunks, and nothing is compressed.)
CREATE OR REPLACE PROCEDURE pg_temp.add_policies(series public.time_series, ts text)
LANGUAGE plpgsql AS $$
DECLARE
    root text := quote_literal('public.' || series.table_name) || '::regclass';
BEGIN
    IF series.compress_after IS NOT NULL THEN
        EXECUTE format('ALTER TABLE public.%I SET (timescaledb.compress, timescaledb.compress_segmentby = ''market_id'','
                       ' timescaledb.compress_orderby = %L)', series.table_name,
                       'created_at DESC' || CASE series.table_name WHEN 'oracle_prices' THEN ', slot DESC' ELSE '' END);
        EXECUTE format('SELECT %I.add_compression_policy(%s, %L::interval, if_not_exists => true)', ts, root, series.compress_after);
    END IF;
    IF series.retention IS NOT NULL THEN
        EXECUTE format('SELECT %I.add_retention_policy(%s, %L::interval, if_not_exists => true)', ts, root, series.retention);
    END IF;
END $$;

-- A refresh reaches back over all prints that are kept, less a day: past that it would empty candles whose prints are
-- gone. Only what changed since the last refresh is computed.
CREATE OR REPLACE PROCEDURE pg_temp.add_refresh_policy(view_name text, every interval, until interval, ts text)
LANGUAGE plpgsql AS $$
DECLARE
    retention interval := (SELECT s.retention FROM public.time_series AS s WHERE s.table_name = 'oracle_prices');
    there boolean;
BEGIN
    EXECUTE 'SELECT EXISTS (SELECT FROM timescaledb_information.jobs AS j JOIN timescaledb_information.continuous_aggregates AS c'
            ' ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)'
            ' WHERE j.proc_name = ''policy_refresh_continuous_aggregate'' AND c.view_schema = ''public'' AND c.view_name = $1)'
        INTO there USING view_name;
    IF there THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT %I.add_continuous_aggregate_policy(%L::regclass, start_offset => %L::interval,'
                   ' end_offset => %L::interval, schedule_interval => %L::interval, if_not_exists => true)',
                   ts, 'public.' || view_name, retention - interval '1 day', until, every);
END $$;

DO $$
DECLARE
    ts text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb');
    series public.time_series;
BEGIN
    IF public.schema_mode() <> 'timescale' THEN
        RETURN;
    END IF;
    FOR series IN SELECT * FROM public.time_series LOOP
        CALL pg_temp.add_policies(series, ts);
    END LOOP;
    CALL pg_temp.add_refresh_policy('candles_1m', '1 minute', '1 minute', ts);
    CALL pg_temp.add_refresh_policy('candles_1h', '5 minutes', '1 hour', ts);
    CALL pg_temp.add_refresh_policy('candles_1d', '1 hour', '1 day', ts);
END $$;
DROP PROCEDURE pg_temp.add_policies(public.time_series, text);
DROP PROCEDURE pg_temp.add_refresh_policy(text, interval, interval, text);
