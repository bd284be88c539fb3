-- Every part of the schema, in the order in which it stands. Both production-schema.sql and
-- migration-to-production.sql read this list: there is one truth.
\ir 01-server.sql
\ir 02-types.sql
\ir 03-settings.sql
\ir 10-users.sql
\ir 11-markets.sql
\ir 12-trading.sql
\ir 13-statistics.sql
\ir 14-auctions.sql
\ir 15-administration.sql
\ir 16-migration-log.sql
\ir 20-oracle-prices.sql
\ir 21-mark-prices.sql
\ir 22-funding.sql
\ir 23-system-events.sql
\ir 24-candles.sql
\ir 25-gaps.sql
\ir 26-instances.sql
\ir 30-functions.sql
\ir 31-views.sql
\ir 32-auction-settlement.sql
\ir 33-statistics.sql
\ir 34-audit.sql
\ir 35-timescale.sql
\ir 40-upkeep.sql
\ir 50-rights.sql
\ir 60-services.sql
