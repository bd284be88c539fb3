-- The old tables and types step aside; what other teams hung on them is written down, to be put back at the end.
CREATE TEMPORARY TABLE migration_foreign (
    position  integer GENERATED ALWAYS AS IDENTITY,
    kind      text NOT NULL,
    name      text NOT NULL,
    undo      text NOT NULL,
    redo      text NOT NULL
) ON COMMIT DROP;

CREATE TEMPORARY VIEW migration_tables AS
SELECT c.oid FROM pg_class AS c JOIN migration_names AS n ON n.kind = 'table' AND n.name = c.relname
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND to_regnamespace('migration_old') IS NOT NULL;

-- Views of others, however far they are built on our tables and views: the ones nearest to the tables first.
INSERT INTO migration_foreign (kind, name, undo, redo)
WITH RECURSIVE built (oid, depth) AS (
    SELECT oid, 0 FROM migration_tables
    UNION
    SELECT r.ev_class, built.depth + 1
    FROM built
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = built.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> built.oid
    WHERE built.depth < 32
)
SELECT 'view', c.oid::regclass::text,
       format('DROP %s IF EXISTS %s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, c.oid::regclass),
       format('CREATE %s %s %s AS %s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, c.oid::regclass,
              CASE WHEN c.reloptions IS NOT NULL THEN 'WITH (' || array_to_string(c.reloptions, ', ') || ')' END,
              rtrim(pg_get_viewdef(c.oid), ';'))
       || coalesce('; ' || (SELECT string_agg(format('GRANT %s ON %s TO %s', a.privilege_type, c.oid::regclass,
                                             CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END), '; ')
                    FROM aclexplode(c.relacl) AS a), '')
       || format('; ALTER TABLE %s OWNER TO %s', c.oid::regclass, c.relowner::regrole)
FROM built JOIN pg_class AS c ON c.oid = built.oid
WHERE built.depth > 0 AND c.relkind IN ('v', 'm')
  AND NOT (c.relnamespace = 'public'::regnamespace AND c.relname IN (SELECT n.name FROM migration_names AS n WHERE n.kind = 'view'))
GROUP BY c.oid, c.relkind, c.reloptions, c.relacl, c.relowner
ORDER BY max(built.depth);

-- Policies and foreign keys of their tables, triggers of theirs on ours, publications they put ours into.
INSERT INTO migration_foreign (kind, name, undo, redo)
SELECT 'policy', format('%s on %s', quote_ident(p.policyname), r.oid::regclass),
       format('DROP POLICY %I ON %s', p.policyname, r.oid::regclass),
       format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.policyname, r.oid::regclass, p.permissive, p.cmd,
              (SELECT string_agg(CASE role WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(role) END, ', ') FROM unnest(p.roles) AS role))
       || coalesce(' USING (' || p.qual || ')', '') || coalesce(' WITH CHECK (' || p.with_check || ')', '')
FROM pg_policy AS raw
JOIN pg_class AS r ON r.oid = raw.polrelid
JOIN pg_policies AS p ON p.policyname = raw.polname AND p.tablename = r.relname AND p.schemaname = r.relnamespace::regnamespace::text
WHERE r.oid NOT IN (SELECT oid FROM migration_tables)
  AND EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_policy'::regclass AND d.objid = raw.oid
              AND d.refobjid IN (SELECT oid FROM migration_tables));

INSERT INTO migration_foreign (kind, name, undo, redo)
SELECT 'foreign key', format('%I on %s', conname, conrelid::regclass),
       format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0 AND confrelid IN (SELECT oid FROM migration_tables)
  AND conrelid NOT IN (SELECT oid FROM migration_tables);

INSERT INTO migration_foreign (kind, name, undo, redo)
SELECT 'trigger', format('%I on %s', t.tgname, t.tgrelid::regclass),
       format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass), pg_get_triggerdef(t.oid)
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgrelid IN (SELECT oid FROM migration_tables)
  AND t.tgname NOT IN ('ts_insert_blocker', 'ts_cagg_invalidation_trigger')
  AND NOT (p.pronamespace = 'public'::regnamespace AND p.proname IN (SELECT n.name FROM migration_names AS n WHERE n.kind = 'function'));

INSERT INTO migration_foreign (kind, name, undo, redo)
SELECT 'publication', format('%I: %s', p.pubname, r.prrelid::regclass),
       format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, r.prrelid::regclass),
       format('ALTER PUBLICATION %I ADD TABLE %s', p.pubname, r.prrelid::regclass)
FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
WHERE r.prrelid IN (SELECT oid FROM migration_tables);

DO $$
DECLARE
    step record;
BEGIN
    IF to_regnamespace('migration_old') IS NULL THEN
        RETURN;
    END IF;
    FOR step IN SELECT undo FROM migration_foreign ORDER BY position DESC LOOP
        EXECUTE step.undo;
    END LOOP;
    FOR step IN SELECT c.relname AS name FROM pg_class AS c JOIN migration_names AS n ON n.name = c.relname AND n.kind = 'view'
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' LOOP
        EXECUTE format('DROP VIEW IF EXISTS public.%I CASCADE', step.name);
    END LOOP;
    FOR step IN SELECT t.tgname AS name, t.tgrelid::regclass AS owner FROM pg_trigger AS t
                WHERE NOT t.tgisinternal AND t.tgrelid IN (SELECT oid FROM migration_tables)
                  AND t.tgname NOT LIKE 'ts\_%' AND t.tgparentid = 0 LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', step.name, step.owner);
    END LOOP;
    FOR step IN SELECT p.polname AS name, p.polrelid::regclass AS owner FROM pg_policy AS p
                WHERE p.polrelid IN (SELECT oid FROM migration_tables) LOOP
        EXECUTE format('DROP POLICY %I ON %s', step.name, step.owner);
    END LOOP;
END $$;

-- A function of ours that others' triggers use stays theirs to use.
DO $$
DECLARE
    step record;
BEGIN
    IF to_regnamespace('migration_old') IS NULL THEN
        RETURN;
    END IF;
    FOR step IN SELECT p.oid::regprocedure::text AS name FROM pg_proc AS p JOIN migration_names AS n ON n.name = regexp_replace(p.proname, '_row$', '') AND n.kind = 'function'
                WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
                  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
                  AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = p.oid) LOOP
        EXECUTE format('DROP FUNCTION %s', step.name);
    END LOOP;
    FOR step IN SELECT oid::regclass::text AS name FROM migration_tables LOOP
        EXECUTE format('ALTER TABLE %s SET SCHEMA migration_old', step.name);
    END LOOP;
    IF to_regclass('public.oracle_prices_external_slot') IS NOT NULL THEN
        ALTER SEQUENCE public.oracle_prices_external_slot SET SCHEMA migration_old;
    END IF;
    FOR step IN SELECT t.oid::regtype AS name FROM pg_type AS t JOIN migration_names AS n ON n.name = t.typname AND n.kind = 'type'
                WHERE t.typnamespace = 'public'::regnamespace AND t.typtype = 'e' LOOP
        EXECUTE format('ALTER TYPE %s SET SCHEMA migration_old', step.name);
    END LOOP;
END $$;
