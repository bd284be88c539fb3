-- Before anything is touched: one at a time, quiet, and never over an earlier generation of the schema.
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('quantdesk schema', 0)); END $$;

DO $$
DECLARE
    found integer;
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL % is too old: this schema needs 15 or newer', current_setting('server_version');
    END IF;
    IF to_regclass('public.schema_version') IS NOT NULL THEN
        EXECUTE 'SELECT max(version) FROM public.schema_version' INTO found;
        IF found > 3 THEN
            RAISE EXCEPTION 'this database holds version % of the schema, and these files are version 3', found
                USING HINT = 'Install a newer quantdesk-oracle';
        END IF;
    ELSIF to_regclass('public.users') IS NOT NULL OR to_regclass('public.markets') IS NOT NULL THEN
        RAISE EXCEPTION 'this database holds tables of an earlier generation of the schema (users, markets)'
            USING HINT = 'Bring it up with: psql "$DATABASE_URL" -f schema/migration-to-production.sql'
                         ' (or: quantdesk-oracle schema migrate)';
    END IF;
END $$;
