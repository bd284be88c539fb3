-- How far each feed's chain history has been watched and read, and the ranges of it that were missed.
CREATE TABLE IF NOT EXISTS public.oracle_watermarks (
    market_id       uuid           NOT NULL REFERENCES public.markets (id) ON DELETE CASCADE,
    account         text           NOT NULL CHECK (account <> ''),
    watched_slot    bigint         NOT NULL,
    watched_at      timestamptz    NOT NULL,
    verified_slot   bigint         NOT NULL,
    verified_at     timestamptz    NOT NULL,
    PRIMARY KEY (market_id, account)
) WITH (fillfactor = 50);
COMMENT ON TABLE public.oracle_watermarks IS 'One row a feed: whatever was posted up to here is a row of oracle_prices, a counted rejection, or inside a gap';
COMMENT ON COLUMN public.oracle_watermarks.market_id IS 'The market that the feed prices';
COMMENT ON COLUMN public.oracle_watermarks.account IS 'The feed''s account, base58';
COMMENT ON COLUMN public.oracle_watermarks.watched_slot IS 'Slot up to which the feed was watched live and what was seen is committed; only ever moves forward';
COMMENT ON COLUMN public.oracle_watermarks.watched_at IS 'When that was so';
COMMENT ON COLUMN public.oracle_watermarks.verified_slot IS 'Slot up to which the chain''s history has been read and compared; only ever moves forward';
COMMENT ON COLUMN public.oracle_watermarks.verified_at IS 'When that was so';

CREATE TABLE IF NOT EXISTS public.oracle_gaps (
    id              bigint         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market_id       uuid           NOT NULL REFERENCES public.markets (id) ON DELETE CASCADE,
    account         text           NOT NULL CHECK (account <> ''),
    source          public.oracle_source NOT NULL DEFAULT 'chain',
    cause           text           NOT NULL CHECK (cause IN ('start', 'disconnected', 'dropped', 'sweep', 'backfill')),
    state           text           NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'healing', 'closed', 'unrecoverable')),
    from_slot       bigint,
    to_slot         bigint,
    from_time       timestamptz    NOT NULL,
    to_time         timestamptz    NOT NULL,
    cursor          text,
    cursor_slot     bigint,
    found           integer        NOT NULL DEFAULT 0 CHECK (found >= 0),
    inserted        integer        NOT NULL DEFAULT 0 CHECK (inserted >= 0),
    rejected        integer        NOT NULL DEFAULT 0 CHECK (rejected >= 0),
    reason          text,
    created_at      timestamptz    NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz    NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT oracle_gaps_range_check CHECK (from_time <= to_time AND (from_slot IS NULL) = (to_slot IS NULL))
);
CREATE INDEX IF NOT EXISTS oracle_gaps_unfinished_idx ON public.oracle_gaps (market_id, account) WHERE state IN ('open', 'healing');
CREATE INDEX IF NOT EXISTS oracle_gaps_market_id_to_time_idx ON public.oracle_gaps (market_id, to_time);
COMMENT ON TABLE public.oracle_gaps IS 'Ranges of a feed''s history that nobody watched, and how far they have been read back, newest first';
COMMENT ON COLUMN public.oracle_gaps.id IS 'Key';
COMMENT ON COLUMN public.oracle_gaps.market_id IS 'The market that the feed prices';
COMMENT ON COLUMN public.oracle_gaps.account IS 'The feed''s account, base58; of history that is not on the chain, the feed id in hexadecimal digits';
COMMENT ON COLUMN public.oracle_gaps.source IS 'Where it is read back from';
COMMENT ON COLUMN public.oracle_gaps.cause IS 'start (the daemon was down), disconnected, dropped (a full queue, or a database that lost what it had committed), sweep (a silent socket left it out), backfill (asked for)';
COMMENT ON COLUMN public.oracle_gaps.state IS 'open, healing (some of it has been read), closed, unrecoverable (the history is not kept that long)';
COMMENT ON COLUMN public.oracle_gaps.from_slot IS 'Watched up to and with this slot; NULL: the range is one of times alone';
COMMENT ON COLUMN public.oracle_gaps.to_slot IS 'The last slot of the range';
COMMENT ON COLUMN public.oracle_gaps.from_time IS 'When the range begins; of a range of slots, about when';
COMMENT ON COLUMN public.oracle_gaps.to_time IS 'When the range ends; of a range of slots, about when';
COMMENT ON COLUMN public.oracle_gaps.cursor IS 'Signature of the oldest transaction that has been read and whose prints are committed; NULL: none yet';
COMMENT ON COLUMN public.oracle_gaps.cursor_slot IS 'Slot of that transaction';
COMMENT ON COLUMN public.oracle_gaps.found IS 'Prints found so far, known ones included (prints)';
COMMENT ON COLUMN public.oracle_gaps.inserted IS 'Prints that were missing and are rows now (prints)';
COMMENT ON COLUMN public.oracle_gaps.rejected IS 'Prints that acceptance refused (prints)';
COMMENT ON COLUMN public.oracle_gaps.reason IS 'Why it is unrecoverable; NULL: it is not';
COMMENT ON COLUMN public.oracle_gaps.created_at IS 'When it was noticed';
COMMENT ON COLUMN public.oracle_gaps.updated_at IS 'When it was last worked on';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['oracle_watermarks', 'oracle_gaps'] LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle, quantdesk_views', name);
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('DROP POLICY IF EXISTS service_role_all ON public.%I', name);
        EXECUTE format('CREATE POLICY service_role_all ON public.%I TO service_role USING (true) WITH CHECK (true)', name);
        EXECUTE format('DROP POLICY IF EXISTS %I ON public.%I', name || '_oracle_all', name);
        EXECUTE format('CREATE POLICY %I ON public.%I TO quantdesk_oracle USING (true) WITH CHECK (true)', name || '_oracle_all', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON public.%I TO quantdesk_oracle', name);
        EXECUTE format('GRANT SELECT ON public.%I TO service_role', name);
    END LOOP;
END $$;
