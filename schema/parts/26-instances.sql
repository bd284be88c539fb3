-- The daemons that write here: any number of them, each with a row that it renews while it runs.
CREATE TABLE IF NOT EXISTS public.daemon_instances (
    id          text        PRIMARY KEY CHECK (id <> ''),
    host        text        NOT NULL,
    version     text        NOT NULL,
    markets     text[]      NOT NULL,
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at  timestamptz,
    ready       boolean     NOT NULL DEFAULT false,
    spool_rows  bigint      NOT NULL DEFAULT 0 CHECK (spool_rows >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE public.daemon_instances IS 'One row a running daemon, renewed every few seconds; a row that nobody has renewed for a day is used again';
COMMENT ON COLUMN public.daemon_instances.id IS 'Host and a random number: one run of the daemon';
COMMENT ON COLUMN public.daemon_instances.host IS 'Machine that it runs on';
COMMENT ON COLUMN public.daemon_instances.version IS 'Version of the program';
COMMENT ON COLUMN public.daemon_instances.markets IS 'Symbols of the markets that it follows';
COMMENT ON COLUMN public.daemon_instances.started_at IS 'When it was started, by its own clock';
COMMENT ON COLUMN public.daemon_instances.seen_at IS 'When it renewed its row, by the database''s clock; older than half a minute: it is gone or cut off';
COMMENT ON COLUMN public.daemon_instances.stopped_at IS 'When it ended in peace; NULL: it has not';
COMMENT ON COLUMN public.daemon_instances.ready IS 'Whether it could compute every mark of its markets';
COMMENT ON COLUMN public.daemon_instances.spool_rows IS 'Rows on its disk that wait for the database (rows)';

DO $$
DECLARE
    role_name text;
BEGIN
    REVOKE ALL ON public.daemon_instances FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle, quantdesk_views;
    ALTER TABLE public.daemon_instances ENABLE ROW LEVEL SECURITY;
    FOREACH role_name IN ARRAY ARRAY['service_role', 'quantdesk_oracle'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON public.daemon_instances',
                       CASE role_name WHEN 'service_role' THEN 'service_role_all' ELSE 'daemon_instances_oracle_all' END);
        EXECUTE format('CREATE POLICY %I ON public.daemon_instances TO %I USING (true) WITH CHECK (true)',
                       CASE role_name WHEN 'service_role' THEN 'service_role_all' ELSE 'daemon_instances_oracle_all' END,
                       role_name);
    END LOOP;
    GRANT SELECT, INSERT, UPDATE ON public.daemon_instances TO quantdesk_oracle;
    GRANT SELECT ON public.daemon_instances TO service_role;
END $$;
