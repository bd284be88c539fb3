-- What the server has to offer: TimescaleDB, the roles of Supabase, auth.jwt(); and what is made where it is missing.

-- On a database that lives: the two tables that all others refer to are locked first, in the order in which TimescaleDB's
-- own jobs lock them when they drop a chunk. Whoever comes second waits, and nobody deadlocks.
DO $$
BEGIN
    IF to_regclass('public.markets') IS NOT NULL AND to_regclass('public.users') IS NOT NULL THEN
        LOCK TABLE public.markets IN SHARE ROW EXCLUSIVE MODE;
        LOCK TABLE public.users IN SHARE ROW EXCLUSIVE MODE;
    END IF;
END $$;

-- TimescaleDB is used where it is installed, and installed where the server has it loaded. (CREATE EXTENSION
-- without the preloaded library would end the session; its settings are seen by every role, the list of libraries is not.)
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
       AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers') THEN
        CREATE EXTENSION timescaledb;
    END IF;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
    RAISE WARNING 'TimescaleDB is there and cannot be installed by this role: native partitions it is (%)', SQLERRM;
END $$;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'quantdesk_oracle', 'quantdesk_views'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            IF wanted = 'service_role' THEN
                ALTER ROLE service_role BYPASSRLS;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL; -- made at the same moment in another database
            WHEN insufficient_privilege THEN
                -- Only a superuser may give BYPASSRLS on PostgreSQL 15; the policies name service_role as well.
                IF wanted <> 'service_role' OR NOT (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
                    RAISE EXCEPTION 'role % may not create the role %', current_user, wanted
                        USING HINT = format('As an administrator: CREATE ROLE %I NOLOGIN', wanted);
                END IF;
                CREATE ROLE service_role NOLOGIN;
        END;
    END LOOP;
END $$;

DO $$
BEGIN
    IF to_regprocedure('auth.jwt()') IS NULL THEN
        CREATE SCHEMA IF NOT EXISTS auth;
        CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $f$
            SELECT coalesce(nullif(current_setting('request.jwt.claim', true), ''),
                            nullif(current_setting('request.jwt.claims', true), ''))::jsonb
        $f$;
        COMMENT ON FUNCTION auth.jwt() IS 'Claims of the request''s token, as on Supabase; NULL without one';
        GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    END IF;
END $$;

-- Partitions live in a schema of their own: nothing there is meant to be named in a query, and Supabase's default
-- privileges for public do not reach it.
CREATE SCHEMA IF NOT EXISTS partitions;
COMMENT ON SCHEMA partitions IS 'Partitions of the time series; read and write them through their root in public';
REVOKE ALL ON SCHEMA partitions FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle;

CREATE OR REPLACE FUNCTION public.schema_mode() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char" := (SELECT relkind FROM pg_class WHERE oid = to_regclass('public.oracle_prices'));
BEGIN
    -- A table that exists has decided; before that, the server does.
    IF kind = 'p' OR NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        RETURN 'plain';
    END IF;
    RETURN CASE current_setting('timescaledb.license', true) WHEN 'timescale' THEN 'timescale' ELSE 'apache' END;
END $$;
COMMENT ON FUNCTION public.schema_mode() IS
    'How time series are kept here: plain (native partitions), timescale (hypertables, Timescale licence), apache (hypertables, Apache-2 build)';

CREATE OR REPLACE PROCEDURE pg_temp.create_enum(type_name text, labels text[])
LANGUAGE plpgsql AS $$
BEGIN
    IF to_regtype('public.' || type_name) IS NULL THEN
        EXECUTE format('CREATE TYPE public.%I AS ENUM (%s)', type_name,
                       (SELECT string_agg(quote_literal(label), ', ') FROM unnest(labels) AS label));
    END IF;
END $$;

-- A time series is one CREATE TABLE whose end depends on the mode; its key holds created_at, or no mode accepts it.
CREATE OR REPLACE PROCEDURE pg_temp.create_series(table_name text, columns text)
LANGUAGE plpgsql AS $$
DECLARE
    timescale_schema text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                              WHERE e.extname = 'timescaledb');
    width interval := (SELECT s.chunk_interval FROM public.time_series s WHERE s.table_name = create_series.table_name);
BEGIN
    IF to_regclass('public.' || table_name) IS NOT NULL THEN
        RETURN;
    END IF;
    IF public.schema_mode() = 'plain' THEN
        EXECUTE format('CREATE TABLE public.%I (%s) PARTITION BY RANGE (created_at)', table_name, columns);
    ELSE
        EXECUTE format('CREATE TABLE public.%I (%s)', table_name, columns);
        EXECUTE format('SELECT %I.create_hypertable(%L::regclass, %L::name, chunk_time_interval => %L::interval,'
                       ' create_default_indexes => false)',
                       timescale_schema, 'public.' || table_name, 'created_at', width);
    END IF;
END $$;

-- A column that came with a later version than its table: named in CREATE TABLE too, and added here where the table is older.
CREATE OR REPLACE PROCEDURE pg_temp.add_column(table_name text, column_name text, definition text)
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = to_regclass('public.' || table_name)
                   AND a.attname = add_column.column_name AND NOT a.attisdropped) THEN
        EXECUTE format('ALTER TABLE public.%I ADD COLUMN %I %s', table_name, column_name, definition);
    END IF;
END $$;

-- Triggers of a time series see all rows of a statement at once: as `inserted` (new) or `removed` (old, for UPDATE and
-- DELETE). TimescaleDB before 2.18 has no transition tables: there a copy of the function is given one row at a time.
CREATE OR REPLACE PROCEDURE pg_temp.create_series_trigger(table_name text, trigger_name text, event text, function_name text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON public.%I REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION public.%I()',
                   trigger_name, event, table_name,
                   CASE event WHEN 'INSERT' THEN 'NEW TABLE AS inserted' ELSE 'OLD TABLE AS removed' END, function_name);
EXCEPTION WHEN feature_not_supported THEN
    CALL pg_temp.create_row_trigger(table_name, trigger_name, event, function_name);
END $$;

CREATE OR REPLACE PROCEDURE pg_temp.create_row_trigger(table_name text, trigger_name text, event text, function_name text)
LANGUAGE plpgsql AS $$
DECLARE
    source text := pg_get_functiondef(to_regproc('public.' || function_name));
BEGIN
    source := replace(source, 'public.' || function_name || '(', 'public.' || function_name || '_row(');
    source := replace(source, 'FROM inserted', 'FROM (SELECT NEW.*) AS inserted');
    EXECUTE replace(source, 'FROM removed', 'FROM (SELECT OLD.*) AS removed');
    EXECUTE format('COMMENT ON FUNCTION public.%I() IS %L', function_name || '_row', 'As ' || function_name || '(), row by row');
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON public.%I', trigger_name, table_name);
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON public.%I FOR EACH ROW EXECUTE FUNCTION public.%I()',
                   trigger_name, event, table_name, function_name || '_row');
END $$;
