-- The whole schema of QuantDesk's database, on an empty database; run again, it changes nothing.
--
--     psql "$DATABASE_URL" -f schema/production-schema.sql
--     quantdesk-oracle schema apply                           the same SQL, the same catalogue
--
-- One transaction: it stands completely, or not at all. Runs on PostgreSQL 15 to 18, with TimescaleDB
-- (hypertables) and without it (native partitions). A database of an earlier generation of this schema is
-- refused here: that is what migration-to-production.sql is for.
\set ON_ERROR_STOP on
BEGIN;
\ir parts/00-guard.sql
\ir parts/all.sql
\ir parts/90-seed.sql
\ir parts/99-version.sql
COMMIT;
