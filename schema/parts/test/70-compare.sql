-- What differs: anything missing or changed, and policies, grants and constraints that are too many. (Columns, indexes
-- and triggers that another team or an operator added are their own affair.)
DO $$
DECLARE
    found text;
    n bigint;
BEGIN
    CREATE TEMPORARY TABLE fresh_catalogue ON COMMIT DROP AS SELECT * FROM pg_temp.catalogue();
    SELECT count(*), string_agg(format('  %s %s of %s: %s', d.kind, d.name, d.owner, d.verdict), E'\n' ORDER BY d.owner, d.kind, d.name)
        FILTER (WHERE d.n <= 20)
    INTO n, found
    FROM (
        SELECT *, row_number() OVER (ORDER BY owner, kind, name) AS n
        FROM (
            SELECT f.owner, f.kind, f.name, CASE WHEN l.owner IS NULL THEN 'missing' ELSE 'changed' END AS verdict
            FROM fresh_catalogue AS f LEFT JOIN live_catalogue AS l USING (owner, kind, name)
            WHERE l.owner IS NULL OR l.definition IS DISTINCT FROM f.definition
            UNION ALL
            SELECT l.owner, l.kind, l.name, 'not part of the schema'
            FROM live_catalogue AS l LEFT JOIN fresh_catalogue AS f USING (owner, kind, name)
            WHERE f.owner IS NULL AND l.kind IN ('policy', 'grant', 'constraint')
              AND EXISTS (SELECT FROM fresh_catalogue AS o WHERE o.owner = l.owner)
        ) AS differences
    ) AS d;
    IF n > 0 THEN
        RAISE EXCEPTION E'schema check failed: % things differ from the schema:\n%', n, found;
    END IF;
END $$;
SELECT count(*) AS things_checked FROM fresh_catalogue;
