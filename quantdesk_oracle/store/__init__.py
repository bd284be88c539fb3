"""PostgreSQL: pool, schema, bulk writers, queries, the embedded server. SQL itself stands in schema/."""
