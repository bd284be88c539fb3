-- Brings a database of an earlier generation of the schema to exactly what production-schema.sql makes, keeping every
-- row; run again, it changes nothing. On an empty database it makes the schema.
--
--     psql "$DATABASE_URL" -f schema/migration-to-production.sql
--     quantdesk-oracle schema migrate [--dry-run]            the same SQL
--
-- One transaction, under locks: stop what writes first, and have as much free disk as the database is large. The old
-- tables step aside into the schema migration_old, the new ones are made by the same parts as on an empty database,
-- every row is copied over, counted, and only then are the old tables dropped. Rows that no constraint can hold go to
-- migration_rejects; values that had to be changed are noted in migration_changes. A failure leaves everything as it was.
\set ON_ERROR_STOP on
BEGIN;
\ir parts/migration/10-plan.sql
\ir parts/migration/20-step-aside.sql
\ir parts/all.sql
\ir parts/migration/30-convert.sql
\ir parts/migration/40-copy.sql
\ir parts/90-seed.sql
\ir parts/99-version.sql
\ir parts/migration/50-finish.sql
COMMIT;
-- Rows of users and their money that could not be taken over: somebody has to look at these.
SELECT table_name, reason, row FROM public.migration_rejects WHERE table_name IN ('users', 'user_balances') ORDER BY id;
