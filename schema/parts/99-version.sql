-- The last thing: now it stands.
DELETE FROM public.schema_version WHERE version < 3;
INSERT INTO public.schema_version AS v (version, oldest_program) VALUES (3, 2)
ON CONFLICT (version) DO UPDATE SET oldest_program = excluded.oldest_program
    WHERE v.oldest_program IS DISTINCT FROM excluded.oldest_program;
DROP PROCEDURE pg_temp.add_column(text, text, text);
DROP PROCEDURE pg_temp.create_enum(text, text[]);
DROP PROCEDURE pg_temp.create_series(text, text);
DROP PROCEDURE pg_temp.create_series_trigger(text, text, text, text);
DROP PROCEDURE pg_temp.create_row_trigger(text, text, text, text);
DROP PROCEDURE pg_temp.create_continuous_aggregate(text, interval);
