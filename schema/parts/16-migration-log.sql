-- What a migration from an earlier generation could not take over as it was.
CREATE TABLE IF NOT EXISTS public.migration_rejects (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name  text        NOT NULL,
    row         jsonb       NOT NULL,
    reason      text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE public.migration_rejects IS 'Rows of an earlier generation that no constraint can hold: kept here, whole';
COMMENT ON COLUMN public.migration_rejects.id IS 'Key';
COMMENT ON COLUMN public.migration_rejects.table_name IS 'Table the row was in';
COMMENT ON COLUMN public.migration_rejects.row IS 'The row as it was, a JSON object';
COMMENT ON COLUMN public.migration_rejects.reason IS 'The constraint that it breaks, and how';
COMMENT ON COLUMN public.migration_rejects.created_at IS 'When it was put here';

CREATE TABLE IF NOT EXISTS public.migration_changes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name   text        NOT NULL,
    row_id       text        NOT NULL,
    column_name  text        NOT NULL,
    old_value    text,
    reason       text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE public.migration_changes IS 'Values of an earlier generation that were changed so that their row could stay';
COMMENT ON COLUMN public.migration_changes.id IS 'Key';
COMMENT ON COLUMN public.migration_changes.table_name IS 'Table of the row';
COMMENT ON COLUMN public.migration_changes.row_id IS 'Key of the row';
COMMENT ON COLUMN public.migration_changes.column_name IS 'The column; one that this schema has not got as well';
COMMENT ON COLUMN public.migration_changes.old_value IS 'Its value before, as text';
COMMENT ON COLUMN public.migration_changes.reason IS 'Why it was changed';
COMMENT ON COLUMN public.migration_changes.created_at IS 'When it was changed';
