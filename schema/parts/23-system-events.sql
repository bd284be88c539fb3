-- Whatever an operator should know.
CALL pg_temp.create_series('system_events', $ddl$
    id          uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    event_type  text        NOT NULL CHECK (event_type <> ''),
    event_data  jsonb       NOT NULL DEFAULT '{}',
    severity    public.event_severity NOT NULL DEFAULT 'info',
    market_id   uuid        REFERENCES public.markets (id) ON DELETE SET NULL,
    user_id     uuid        REFERENCES public.users (id) ON DELETE SET NULL,
    PRIMARY KEY (id, created_at)
$ddl$);
CREATE INDEX IF NOT EXISTS system_events_created_at_idx ON public.system_events (created_at DESC);
CREATE INDEX IF NOT EXISTS system_events_event_type_idx ON public.system_events (event_type, created_at DESC);
COMMENT ON TABLE public.system_events IS 'Events of the daemon and the backend, for operators';
COMMENT ON COLUMN public.system_events.id IS 'Key, with created_at';
COMMENT ON COLUMN public.system_events.created_at IS 'When it happened';
COMMENT ON COLUMN public.system_events.event_type IS 'What happened, noun.verb_past, such as feed.recovered';
COMMENT ON COLUMN public.system_events.event_data IS 'Particulars, a JSON object';
COMMENT ON COLUMN public.system_events.severity IS 'How urgently a person should look';
COMMENT ON COLUMN public.system_events.market_id IS 'The market it is about; NULL: none';
COMMENT ON COLUMN public.system_events.user_id IS 'The user it is about; NULL: none';
