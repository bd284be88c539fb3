-- Checks a live database, as the owner of the schema:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f schema/test-schema.sql
--     quantdesk-oracle schema verify                          the same SQL
--
-- What the functions answer, against worked numbers; what each role can see and do; the plans of queries; and the whole
-- catalogue, against a fresh schema made beside it by the same parts. Ends with an error, and a non-zero exit, at the
-- first thing that does not hold. One transaction, rolled back: it leaves nothing behind. It takes a second or two, and
-- meanwhile no table can be created in public.
\set ON_ERROR_STOP on
BEGIN;
\ir parts/test/10-begin.sql
\ir parts/test/20-numbers.sql
\ir parts/test/30-views.sql
\ir parts/test/40-roles.sql
\ir parts/test/50-plans.sql
\ir parts/test/60-catalogue.sql
\ir parts/all.sql
\ir parts/test/70-compare.sql
ROLLBACK;
