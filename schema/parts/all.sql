-- Every part of the schema, in the order in which it stands. Both production-schema.sql and
-- migration-to-production.sql read this list: there is one truth.
\ir 00-guard.sql
\ir 01-server.sql
\ir 02-types.sql
\ir 03-settings.sql
\ir 10-users.sql
\ir 11-markets.sql
\ir 20-oracle-prices.sql
\ir 21-mark-prices.sql
\ir 22-funding.sql
\ir 23-system-events.sql
\ir 40-upkeep.sql
\ir 90-seed.sql
\ir 99-version.sql
