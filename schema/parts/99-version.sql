-- The last thing: now it stands.
DELETE FROM public.schema_version WHERE version < 3;
INSERT INTO public.schema_version (version) VALUES (3) ON CONFLICT (version) DO NOTHING;
DROP PROCEDURE pg_temp.add_column(text, text, text);
DROP PROCEDURE pg_temp.create_enum(text, text[]);
DROP PROCEDURE pg_temp.create_series(text, text);
DROP PROCEDURE pg_temp.create_series_trigger(text, text, text, text);
DROP PROCEDURE pg_temp.create_row_trigger(text, text, text, text);
DROP PROCEDURE pg_temp.create_continuous_aggregate(text, interval);
