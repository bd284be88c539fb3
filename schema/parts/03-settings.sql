-- What the schema says about itself: its version, its settings, its time series.
CREATE TABLE IF NOT EXISTS public.schema_version (
    version         integer     PRIMARY KEY CHECK (version > 0),
    applied_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by      text        NOT NULL DEFAULT current_user,
    oldest_program  integer     CHECK (oldest_program > 0)
);
CALL pg_temp.add_column('schema_version', 'oldest_program', 'integer CHECK (oldest_program > 0)');
COMMENT ON TABLE public.schema_version IS 'The version of this schema: one row. Programs compare it with the version they were written for';
COMMENT ON COLUMN public.schema_version.version IS 'Counts up with every change of the schema';
COMMENT ON COLUMN public.schema_version.applied_at IS 'When it was applied first';
COMMENT ON COLUMN public.schema_version.applied_by IS 'The database role that applied it';
COMMENT ON COLUMN public.schema_version.oldest_program IS 'Programs written for this version and newer ones work with it; NULL: for no older one';

CREATE TABLE IF NOT EXISTS public.schema_settings (
    name         text    PRIMARY KEY,
    value        numeric NOT NULL CHECK (value > 0),
    unit         text    NOT NULL,
    description  text    NOT NULL
);
COMMENT ON TABLE public.schema_settings IS 'Numbers that views and functions read; change value with UPDATE as the owner';
COMMENT ON COLUMN public.schema_settings.name IS 'Name of the setting';
COMMENT ON COLUMN public.schema_settings.value IS 'Its value, in the unit beside it';
COMMENT ON COLUMN public.schema_settings.unit IS 'Unit of the value';
COMMENT ON COLUMN public.schema_settings.description IS 'What follows from it';

INSERT INTO public.schema_settings (name, value, unit, description) VALUES
    ('oracle_fresh_seconds', 75, 's', 'latest_oracle_prices: a print older than this is not usable'),
    ('mark_fresh_seconds', 60, 's', 'latest_mark_prices, position health, live P&L: a mark older than this is not used')
ON CONFLICT (name) DO NOTHING;

CREATE TABLE IF NOT EXISTS public.time_series (
    table_name      text     PRIMARY KEY,
    chunk_interval  interval NOT NULL CHECK (chunk_interval >= interval '1 hour'),
    chunks_ahead    integer  NOT NULL CHECK (chunks_ahead BETWEEN 1 AND 10),
    retention       interval CHECK (retention >= chunk_interval),
    compress_after  interval CHECK (compress_after >= interval '1 day'),
    private         boolean  NOT NULL
);
COMMENT ON TABLE public.time_series IS 'The tables that grow with time, and how long their rows are kept; change retention with UPDATE as the owner';
COMMENT ON COLUMN public.time_series.table_name IS 'Table in the schema public';
COMMENT ON COLUMN public.time_series.chunk_interval IS 'Time that one partition or chunk covers; read when it is made';
COMMENT ON COLUMN public.time_series.chunks_ahead IS 'Partitions kept ready beyond the running one (native partitions only)';
COMMENT ON COLUMN public.time_series.retention IS 'Age beyond which rows are dropped; NULL: kept for ever';
COMMENT ON COLUMN public.time_series.compress_after IS 'Age beyond which chunks are compressed (Timescale licence only); NULL: never';
COMMENT ON COLUMN public.time_series.private IS 'True: guarded by row security (and therefore never compressed); false: public data';

INSERT INTO public.time_series (table_name, chunk_interval, chunks_ahead, retention, compress_after, private) VALUES
    ('oracle_prices',   '7 days',   2, '90 days', '7 days', false),
    ('mark_prices',     '7 days',   2, '90 days', '7 days', false),
    ('premium_samples', '7 days',   2, '90 days', '7 days', false),
    ('funding_rates',   '364 days', 1, NULL,      NULL,     false),
    ('trades',          '91 days',  1, NULL,      NULL,     true),
    ('system_events',   '7 days',   2, '30 days', NULL,     true)
ON CONFLICT (table_name) DO NOTHING;

CREATE OR REPLACE FUNCTION public.schema_setting(p_name text) RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT value::double precision FROM public.schema_settings WHERE name = p_name
$$;
COMMENT ON FUNCTION public.schema_setting(text) IS 'One value of schema_settings; NULL for an unknown name';

CREATE OR REPLACE FUNCTION public.set_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION public.set_updated_at() IS 'Trigger: keeps updated_at at the time of the last change';
