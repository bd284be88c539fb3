-- Table by table: convert into a stage that has no constraints, put aside what this schema's constraints (read from
-- its catalogue) would refuse, insert the rest, and count.

-- The expressions of the stage's columns, in the order of the new table's.
CREATE OR REPLACE FUNCTION pg_temp.conversions(old_name text, new_name text)
RETURNS TABLE (column_name text, expression text, noted text, from_old boolean)
LANGUAGE sql STABLE AS $$
    WITH old AS (
        SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('migration_old.' || quote_ident(old_name))
                                           AND attnum > 0 AND NOT attisdropped
    )
    SELECT a.attname::text,
           CASE WHEN a.attnotnull AND d.adbin IS NOT NULL THEN format('coalesce((%s)::%s, %s)', e.value, t.name, pg_get_expr(d.adbin, d.adrelid))
                ELSE format('(%s)::%s', e.value, t.name) END,
           v.noted, true
    FROM pg_attribute AS a
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN old ON old.attname = a.attname
    LEFT JOIN migration_values AS v ON v.table_name = new_name AND v.column_name = a.attname AND v.if_missing = (old.attname IS NULL)
    CROSS JOIN LATERAL (SELECT format_type(a.atttypid, a.atttypmod) AS name) AS t
    CROSS JOIN LATERAL (SELECT coalesce(v.expression,
        CASE WHEN (SELECT typtype FROM pg_type WHERE oid = a.atttypid) = 'e' THEN format('o.%I::text', a.attname) ELSE format('o.%I', a.attname) END)) AS e (value)
    WHERE a.attrelid = to_regclass('public.' || quote_ident(new_name)) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attgenerated = '' AND a.attidentity = '' AND (old.attname IS NOT NULL OR v.expression IS NOT NULL)
    ORDER BY a.attnum
$$;

-- The constraints of a new table: a condition that a good row of the stage fulfils, and what it is called.
CREATE OR REPLACE FUNCTION pg_temp.conditions(new_name text)
RETURNS TABLE (ord integer, reason text, condition text, columns text[])
LANGUAGE sql STABLE AS $$
    SELECT 1, format('%s is NULL', a.attname), format('%I IS NOT NULL', a.attname), ARRAY[a.attname::text]
    FROM pg_attribute AS a
    WHERE a.attrelid = to_regclass('public.' || quote_ident(new_name)) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
      AND a.attgenerated = '' AND a.attidentity = ''
    UNION ALL
    SELECT 2, format('breaks %s: %s', c.conname, pg_get_expr(c.conbin, c.conrelid)),
           format('(%s) IS NOT FALSE', pg_get_expr(c.conbin, c.conrelid)),
           ARRAY(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))
    FROM pg_constraint AS c
    WHERE c.conrelid = to_regclass('public.' || quote_ident(new_name)) AND c.contype = 'c'
    ORDER BY 1, 2
$$;

CREATE OR REPLACE PROCEDURE pg_temp.reject(old_name text, new_name text, bad text, reason text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('WITH bad AS (DELETE FROM migration_stage AS s WHERE %s RETURNING s.old_table, s.old_ctid)'
                   ' INSERT INTO public.migration_rejects (table_name, row, reason)'
                   ' SELECT %L, to_jsonb(o), %L FROM migration_old.%I AS o JOIN bad ON o.tableoid = bad.old_table AND o.ctid = bad.old_ctid',
                   bad, old_name, reason, old_name);
END $$;

-- A value that is changed, and the note of it. `bad` selects rows of the stage, `value` is what they get.
CREATE OR REPLACE PROCEDURE pg_temp.change(new_name text, column_name text, bad text, value text, reason text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('WITH bad AS (SELECT s.old_table, s.old_ctid, s.%1$I::text AS old_value FROM migration_stage AS s WHERE %2$s),'
                   ' changed AS (UPDATE migration_stage AS s SET %1$I = %3$s FROM bad WHERE s.old_table = bad.old_table AND s.old_ctid = bad.old_ctid'
                   '             RETURNING to_jsonb(s) ->> ''id'' AS id, bad.old_value)'
                   ' INSERT INTO public.migration_changes (table_name, row_id, column_name, old_value, reason)'
                   ' SELECT %4$L, coalesce(id, ''''), %5$L, old_value, %6$L FROM changed',
                   column_name, bad, value, new_name, column_name, reason);
END $$;

-- Users and markets are what all else hangs on: a value of theirs that breaks a check becomes its default instead.
CREATE OR REPLACE PROCEDURE pg_temp.repair(new_name text, reason text, condition text, columns text[])
LANGUAGE plpgsql AS $$
DECLARE
    repaired record;
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE migration_broken ON COMMIT DROP AS SELECT old_table, old_ctid FROM migration_stage WHERE NOT (%s)', condition);
    FOR repaired IN
        SELECT a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS value
        FROM pg_attribute AS a JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = to_regclass('public.' || quote_ident(new_name)) AND a.attname = ANY (columns) AND a.attgenerated = ''
    LOOP
        CALL pg_temp.change(new_name, repaired.name, '(s.old_table, s.old_ctid) IN (SELECT old_table, old_ctid FROM migration_broken)',
                            repaired.value, reason || '; the default instead');
    END LOOP;
    DROP TABLE migration_broken;
END $$;

-- Keys: of several rows with one, the first by the plan's preference stays. An account is a key that a row can do
-- without: the others lose it. (Duplicate oracle prices have their own slots already.)
CREATE OR REPLACE PROCEDURE pg_temp.settle_keys(plan migration_plan)
LANGUAGE plpgsql AS $$
DECLARE
    key record;
    later text;
BEGIN
    FOR key IN
        SELECT c.conname AS name, string_agg(format('s.%I', a.attname), ', ') AS columns, min(a.attname) AS first, count(*) AS n,
               bool_and(NOT a.attnotnull) AS optional
        FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.conrelid = to_regclass('public.' || quote_ident(plan.table_name)) AND c.contype IN ('p', 'u') AND a.attidentity = ''
        GROUP BY c.oid, c.conname ORDER BY c.conname
    LOOP
        later := format('(s.old_table, s.old_ctid) IN (SELECT r.old_table, r.old_ctid FROM (SELECT s.old_table, s.old_ctid, row_number() OVER'
                        ' (PARTITION BY %s ORDER BY %s, s.old_ctid) AS n FROM migration_stage AS s WHERE (%s) IS NOT NULL) AS r WHERE r.n > 1)',
                        key.columns, plan.preference, key.columns);
        IF key.optional AND key.n = 1 THEN
            CALL pg_temp.change(plan.table_name, key.first, later, 'NULL', format('another row has it (%s)', key.name));
        ELSE
            CALL pg_temp.reject(plan.old_name, plan.table_name, later, format('another row has its key (%s)', key.name));
        END IF;
    END LOOP;
END $$;

-- References to rows that are not there (because they were put aside): dropped where the column may be NULL.
CREATE OR REPLACE PROCEDURE pg_temp.settle_references(plan migration_plan)
LANGUAGE plpgsql AS $$
DECLARE
    reference record;
    dangling text;
BEGIN
    FOR reference IN
        SELECT a.attname AS name, c.confrelid::regclass AS parent, b.attname AS parent_key, a.attnotnull AS needed,
               c.confrelid = c.conrelid AS own
        FROM pg_constraint AS c
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
        WHERE c.conrelid = to_regclass('public.' || quote_ident(plan.table_name)) AND c.contype = 'f'
    LOOP
        dangling := format('s.%I IS NOT NULL AND NOT EXISTS (SELECT FROM %s AS p WHERE p.%I = s.%I)', reference.name,
                           CASE WHEN reference.own THEN 'migration_stage'::text ELSE reference.parent::text END,
                           reference.parent_key, reference.name);
        IF reference.needed THEN
            CALL pg_temp.reject(plan.old_name, plan.table_name, dangling, format('its %s is not in %s', reference.name, reference.parent));
        ELSE
            CALL pg_temp.change(plan.table_name, reference.name, dangling, 'NULL', format('no such row in %s', reference.parent));
        END IF;
    END LOOP;
END $$;

-- Values that the conversion itself changed, and columns that this schema has not got.
CREATE OR REPLACE PROCEDURE pg_temp.note_conversions(plan migration_plan)
LANGUAGE plpgsql AS $$
DECLARE
    noted record;
BEGIN
    FOR noted IN
        SELECT c.column_name AS name, c.noted AS reason FROM pg_temp.conversions(plan.old_name, plan.table_name) AS c WHERE c.noted IS NOT NULL
    LOOP
        EXECUTE format('INSERT INTO public.migration_changes (table_name, row_id, column_name, old_value, reason)'
                       ' SELECT %L, o.id::text, %L, o.%I::text, %L FROM migration_old.%I AS o'
                       ' JOIN migration_stage AS s ON s.old_table = o.tableoid AND s.old_ctid = o.ctid'
                       ' WHERE o.%I::text IS DISTINCT FROM s.%I::text AND o.%I IS NOT NULL',
                       plan.table_name, noted.name, noted.name, noted.reason, plan.old_name, noted.name, noted.name, noted.name);
    END LOOP;
    FOR noted IN
        SELECT a.attname AS name FROM pg_attribute AS a
        WHERE a.attrelid = to_regclass('migration_old.' || quote_ident(plan.old_name)) AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = '' AND a.attname <> 'id'
          AND NOT EXISTS (SELECT FROM pg_attribute AS n WHERE n.attrelid = to_regclass('public.' || quote_ident(plan.table_name))
                          AND n.attname = a.attname AND NOT n.attisdropped)
    LOOP
        EXECUTE format('INSERT INTO public.migration_changes (table_name, row_id, column_name, old_value, reason)'
                       ' SELECT %L, coalesce(to_jsonb(o) ->> ''id'', ''''), %L, o.%I::text, ''this schema has no such column'''
                       ' FROM migration_old.%I AS o WHERE o.%I IS NOT NULL', plan.table_name, noted.name, noted.name, plan.old_name, noted.name);
    END LOOP;
END $$;

CREATE OR REPLACE PROCEDURE pg_temp.stage(plan migration_plan)
LANGUAGE plpgsql AS $$
DECLARE
    expressions text := (SELECT string_agg(format('%s AS %I', c.expression, c.column_name), ', ')
                         FROM pg_temp.conversions(plan.old_name, plan.table_name) AS c);
BEGIN
    DROP TABLE IF EXISTS migration_stage;
    EXECUTE format('CREATE TEMPORARY TABLE migration_stage ON COMMIT DROP AS SELECT o.tableoid AS old_table, o.ctid AS old_ctid, %s FROM migration_old.%I AS o',
                   expressions, plan.old_name);
    -- Checks may name columns that the old table has not got: they hold their defaults.
    EXECUTE (SELECT coalesce(string_agg(format('ALTER TABLE migration_stage ADD COLUMN IF NOT EXISTS %I %s DEFAULT %s;', a.attname,
                    format_type(a.atttypid, a.atttypmod), coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL')), ' '), 'SELECT')
             FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
             WHERE a.attrelid = to_regclass('public.' || quote_ident(plan.table_name)) AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = '' AND a.attidentity = ''
               AND NOT EXISTS (SELECT FROM pg_attribute AS s WHERE s.attrelid = 'pg_temp.migration_stage'::regclass AND s.attname = a.attname));
    CREATE INDEX ON migration_stage (old_table, old_ctid);
    ANALYZE migration_stage;
END $$;

CREATE OR REPLACE PROCEDURE pg_temp.copy_table(plan migration_plan)
LANGUAGE plpgsql AS $$
DECLARE
    columns text := (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute AS a
                     WHERE a.attrelid = to_regclass('public.' || quote_ident(plan.table_name)) AND a.attnum > 0
                       AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = '');
    rule record;
    there bigint;
    copied bigint;
    rejected bigint;
BEGIN
    CALL pg_temp.stage(plan);
    CALL pg_temp.note_conversions(plan);
    FOR rule IN SELECT * FROM pg_temp.conditions(plan.table_name) LOOP
        IF plan.table_name IN ('users', 'markets') THEN
            CALL pg_temp.repair(plan.table_name, rule.reason, rule.condition, rule.columns);
        END IF;
        CALL pg_temp.reject(plan.old_name, plan.table_name, format('NOT (%s)', rule.condition), rule.reason);
    END LOOP;
    CALL pg_temp.settle_references(plan);
    CALL pg_temp.settle_keys(plan);
    EXECUTE format('INSERT INTO public.%I (%s) SELECT %s FROM migration_stage', plan.table_name, columns, columns);
    GET DIAGNOSTICS copied = ROW_COUNT;
    EXECUTE format('SELECT count(*) FROM migration_old.%I', plan.old_name) INTO there;
    SELECT count(*) INTO rejected FROM public.migration_rejects WHERE table_name = plan.old_name AND created_at >= now();
    IF there <> copied + rejected THEN
        RAISE EXCEPTION 'migration of %: % rows were there, % copied and % put aside: that does not add up, nothing was changed',
            plan.old_name, there, copied, rejected;
    END IF;
    INSERT INTO migration_report (table_name, before, copied, rejected) VALUES (plan.old_name, there, copied, rejected);
END $$;

-- A series whose rows reach back further than its retention keeps them: nobody has said yet that they may go.
CREATE OR REPLACE PROCEDURE pg_temp.keep_history()
LANGUAGE plpgsql AS $$
DECLARE
    series public.time_series;
    oldest timestamptz;
    ts text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb');
BEGIN
    FOR series IN SELECT * FROM public.time_series WHERE retention IS NOT NULL LOOP
        EXECUTE format('SELECT min(created_at) FROM public.%I', series.table_name) INTO oldest;
        CONTINUE WHEN oldest IS NULL OR oldest >= now() - series.retention;
        UPDATE public.time_series SET retention = NULL WHERE table_name = series.table_name;
        INSERT INTO public.migration_changes (table_name, row_id, column_name, old_value, reason)
        VALUES ('time_series', series.table_name, 'retention', series.retention,
                format('its rows reach back to %s: nothing is dropped until retention is set again', oldest));
        IF public.schema_mode() = 'timescale' THEN
            EXECUTE format('SELECT %I.remove_retention_policy(%L::regclass, if_exists => true)', ts, 'public.' || series.table_name);
        END IF;
    END LOOP;
END $$;

DO $$
DECLARE
    plan migration_plan;
    plain record;
    lowest bigint;
BEGIN
    IF to_regnamespace('migration_old') IS NULL THEN
        RETURN;
    END IF;
    -- Nothing that happens here is a change by anybody: no audit, no new time stamps.
    FOR plain IN SELECT DISTINCT p.table_name AS name FROM migration_plan AS p
                 WHERE p.table_name NOT IN (SELECT s.table_name FROM public.time_series AS s) LOOP
        EXECUTE format('ALTER TABLE public.%I DISABLE TRIGGER USER', plain.name);
    END LOOP;
    -- Slots that the counting default gave out before are not given out again.
    IF to_regclass('migration_old.oracle_prices') IS NOT NULL AND EXISTS (SELECT FROM pg_attribute
        WHERE attrelid = to_regclass('migration_old.oracle_prices') AND attname = 'slot' AND NOT attisdropped) THEN
        EXECUTE 'SELECT min(slot) FROM migration_old.oracle_prices WHERE slot < 0' INTO lowest;
        IF lowest IS NOT NULL THEN
            PERFORM setval('public.oracle_prices_external_slot', lowest);
        END IF;
    END IF;
    FOR plan IN SELECT * FROM migration_plan AS p WHERE to_regclass('migration_old.' || p.old_name) IS NOT NULL ORDER BY p.position LOOP
        CALL pg_temp.copy_table(plan);
    END LOOP;
    FOR plain IN SELECT DISTINCT p.table_name AS name FROM migration_plan AS p
                 WHERE p.table_name NOT IN (SELECT s.table_name FROM public.time_series AS s) LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE TRIGGER USER', plain.name);
    END LOOP;
    INSERT INTO public.insurance_fund (market_id) SELECT id FROM public.markets ON CONFLICT (market_id) DO NOTHING;
    -- Statistics of the past are taken over as they were, not recomputed.
    DELETE FROM public.statistics_due;
    CALL pg_temp.keep_history();
END $$;
