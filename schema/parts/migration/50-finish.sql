-- The old tables go, all at once and without CASCADE: whatever of other teams still hangs on them stops the migration.
DO $$
DECLARE
    names text;
    step record;
BEGIN
    IF to_regnamespace('migration_old') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(format('migration_old.%I', relname), ', ') INTO names FROM pg_class
    WHERE relnamespace = 'migration_old'::regnamespace AND relkind IN ('r', 'p');
    EXECUTE 'DROP TABLE ' || names;
    FOR step IN SELECT format('DROP SEQUENCE migration_old.%I', relname) AS command FROM pg_class
                WHERE relnamespace = to_regnamespace('migration_old') AND relkind = 'S'
                UNION ALL
                SELECT format('DROP TYPE migration_old.%I', typname) FROM pg_type
                WHERE typnamespace = to_regnamespace('migration_old') AND typtype = 'e' LOOP
        EXECUTE step.command;
    END LOOP;
    -- update_updated_at_column() and its like, where no trigger of others uses them.
    FOR step IN SELECT p.oid::regprocedure AS name FROM pg_proc AS p
                WHERE p.pronamespace = 'public'::regnamespace AND p.proname = 'update_updated_at_column'
                  AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = p.oid) LOOP
        EXECUTE format('DROP FUNCTION %s', step.name);
    END LOOP;
    DROP SCHEMA migration_old;
END $$;

-- What other teams hung on our tables is put back.
DO $$
DECLARE
    step record;
BEGIN
    IF NOT EXISTS (SELECT FROM migration_foreign) THEN
        RETURN;
    END IF;
    FOR step IN SELECT * FROM migration_foreign ORDER BY position LOOP
        BEGIN
            EXECUTE step.redo;
        EXCEPTION
            WHEN duplicate_object THEN
                IF step.kind <> 'publication' THEN RAISE; END IF; -- realtime has added it already
            WHEN OTHERS THEN
                RAISE EXCEPTION 'the % % of another team does not fit the new tables: %', step.kind, step.name, SQLERRM
                    USING HINT = 'Drop it, migrate, and make it again in a form that fits. It was: ' || step.redo;
        END;
    END LOOP;
END $$;
DROP VIEW migration_tables;
DROP FUNCTION pg_temp.label(text, text), pg_temp.is_address(text), pg_temp.perpetual(text), pg_temp.conversions(text, text),
    pg_temp.conditions(text);
DROP PROCEDURE pg_temp.reject(text, text, text, text), pg_temp.change(text, text, text, text, text),
    pg_temp.repair(text, text, text, text[]), pg_temp.settle_keys(migration_plan), pg_temp.settle_references(migration_plan),
    pg_temp.note_conversions(migration_plan), pg_temp.stage(migration_plan), pg_temp.copy_table(migration_plan), pg_temp.keep_history();
