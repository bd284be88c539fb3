-- What other services of the server do for us, where they are there: realtime, pg_cron.

-- Supabase's realtime publishes what is in its publication; of a partitioned table, changes under the name of its root.
DO $$
DECLARE
    name text;
BEGIN
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime' AND NOT puballtables) THEN
        IF public.schema_mode() = 'plain'
           AND NOT (SELECT pubviaroot FROM pg_publication WHERE pubname = 'supabase_realtime') THEN
            ALTER PUBLICATION supabase_realtime SET (publish_via_partition_root = true);
        END IF;
        FOREACH name IN ARRAY ARRAY['oracle_prices', 'mark_prices', 'positions', 'orders', 'risk_alerts'] LOOP
            CONTINUE WHEN EXISTS (SELECT FROM pg_publication_tables WHERE pubname = 'supabase_realtime'
                                  AND schemaname = 'public' AND tablename = name)
                OR EXISTS (SELECT FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
                           WHERE p.pubname = 'supabase_realtime' AND r.prrelid = to_regclass('public.' || name));
            EXECUTE format('ALTER PUBLICATION supabase_realtime ADD TABLE public.%I', name);
        END LOOP;
    END IF;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR invalid_parameter_value THEN
    RAISE WARNING 'realtime: the publication supabase_realtime cannot be changed by this role (%)', SQLERRM;
END $$;

-- Upkeep also runs where no daemon does.
DO $$
BEGIN
    IF to_regprocedure('cron.schedule(text,text,text)') IS NOT NULL THEN
        PERFORM cron.schedule('quantdesk-upkeep', '17 * * * *', 'SELECT public.upkeep()');
        PERFORM cron.schedule('quantdesk-statistics', '*/5 * * * *', 'SELECT public.refresh_statistics()');
    END IF;
END $$;
