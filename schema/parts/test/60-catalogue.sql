-- The whole catalogue of the live schema; then the live schema steps aside (in this transaction alone), and a fresh one
-- is made in its place.
CREATE OR REPLACE FUNCTION pg_temp.catalogue() RETURNS TABLE (owner text, kind text, name text, definition text)
LANGUAGE sql AS $$
    WITH tables AS (
        SELECT c.* FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ), functions AS (
        SELECT p.* FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    )
    SELECT relname::text, 'table', relname::text, format('%s, row security %s %s, %s, %s', relkind, relrowsecurity, relforcerowsecurity,
           reloptions, pg_get_partkeydef(oid)) FROM tables
    UNION ALL
    SELECT t.relname, 'column', a.attname, format('%s %s default %s generated %s', format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attnotnull THEN 'not null' END, pg_get_expr(d.adbin, d.adrelid), concat(a.attgenerated, a.attidentity))
    FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND t.relkind <> 'S'
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT t.relname, 'constraint', c.conname, pg_get_constraintdef(c.oid) || CASE WHEN c.convalidated THEN '' ELSE ' not valid' END
    FROM tables AS t JOIN pg_constraint AS c ON c.conrelid = t.oid AND c.contype <> 'n'
    UNION ALL
    SELECT t.relname, 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' not valid' END
    FROM tables AS t JOIN pg_index AS i ON i.indrelid = t.oid
    UNION ALL
    SELECT t.relname, 'trigger', g.tgname, concat(pg_get_triggerdef(g.oid), ' ', g.tgenabled)
    FROM tables AS t JOIN pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT p.tablename, 'policy', p.policyname, format('%s for %s to %s using %s check %s', p.permissive, p.cmd, p.roles, p.qual, p.with_check)
    FROM pg_policies AS p WHERE p.schemaname = 'public'
    UNION ALL
    -- (A continuous aggregate's view names the number of its materialisation, and functions of the extension.)
    SELECT t.relname, 'view', t.relname, regexp_replace(pg_get_viewdef(t.oid), 'verify_live\.|(_materialized_hypertable_|cagg_watermark\()\d+', '\1', 'g') FROM tables AS t WHERE t.relkind = 'v'
    UNION ALL
    SELECT t.relname, 'view owner', t.relname, t.relowner::regrole::text FROM tables AS t WHERE t.relkind = 'v' AND t.relowner::regrole::text = 'quantdesk_views'
    UNION ALL
    SELECT t.relname, 'grant', format('%s to %s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END), ''
    FROM tables AS t CROSS JOIN LATERAL aclexplode(t.relacl) AS a WHERE a.grantee <> t.relowner
    UNION ALL
    SELECT t.relname, 'grant', format('%s (%s) to %s', a.privilege_type, c.attname, a.grantee::regrole), ''
    FROM tables AS t JOIN pg_attribute AS c ON c.attrelid = t.oid CROSS JOIN LATERAL aclexplode(c.attacl) AS a
    UNION ALL
    SELECT f.oid::regprocedure::text, 'function', f.proname, pg_get_functiondef(f.oid) FROM functions AS f
    UNION ALL
    SELECT f.oid::regprocedure::text, 'grant', format('%s to %s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END), ''
    FROM functions AS f CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a WHERE a.grantee <> f.proowner
    UNION ALL
    SELECT t.typname, 'type', t.typname, (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid)
    FROM pg_type AS t WHERE t.typnamespace = 'public'::regnamespace AND t.typtype = 'e'
    UNION ALL
    SELECT t.relname, 'comment', coalesce(a.attname, t.relname), d.description
    FROM tables AS t JOIN pg_description AS d ON d.objoid = t.oid AND d.classoid = 'pg_class'::regclass
    LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.objsubid AND d.objsubid > 0
$$;
CREATE TEMPORARY TABLE live_catalogue ON COMMIT DROP AS SELECT * FROM pg_temp.catalogue();
ALTER SCHEMA public RENAME TO verify_live;
DO $$ BEGIN
    IF to_regnamespace('partitions') IS NOT NULL THEN
        ALTER SCHEMA partitions RENAME TO verify_live_partitions;
    END IF;
END $$;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
