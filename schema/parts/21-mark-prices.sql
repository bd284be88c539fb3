-- Mark prices: one row per market and grid instant, with every input of its formula.
CALL pg_temp.create_series('mark_prices', $ddl$
    market_id            uuid           NOT NULL REFERENCES public.markets (id),
    created_at           timestamptz    NOT NULL,
    oracle_publish_time  timestamptz,
    oracle_slot          bigint,
    last_trade_at        timestamptz,
    basis_count          integer        CHECK (basis_count >= 0),
    funding_interval     integer        CHECK (funding_interval > 0),
    parameter_version    integer,
    mark_price           numeric(38,12) NOT NULL CHECK (mark_price > 0),
    oracle_price         numeric(38,12) NOT NULL CHECK (oracle_price > 0),
    funding_rate         numeric(24,12) NOT NULL DEFAULT 0,
    seconds_to_funding   numeric        CHECK (seconds_to_funding >= 0),
    basis_sum            numeric,
    basis_mean           numeric,
    best_bid             numeric(38,12) CHECK (best_bid > 0),
    best_ask             numeric(38,12) CHECK (best_ask > 0),
    last_trade_price     numeric(38,12) CHECK (last_trade_price > 0),
    method               text,
    status               text           NOT NULL DEFAULT 'fresh' CHECK (status IN ('fresh', 'stale')),
    ema_state            jsonb,
    digest               bigint,
    PRIMARY KEY (market_id, created_at)
$ddl$);
CALL pg_temp.add_column('mark_prices', 'digest', 'bigint');
COMMENT ON TABLE public.mark_prices IS 'Mark prices on a UTC grid: the first writer''s row stands, and holds every input of its own formula';
COMMENT ON COLUMN public.mark_prices.market_id IS 'The market';
COMMENT ON COLUMN public.mark_prices.created_at IS 'The grid instant it is for';
COMMENT ON COLUMN public.mark_prices.oracle_publish_time IS 'Publish time of the oracle print used; NULL: history from before this schema';
COMMENT ON COLUMN public.mark_prices.oracle_slot IS 'Slot of the oracle print used';
COMMENT ON COLUMN public.mark_prices.last_trade_at IS 'Time of the last trade used; NULL: none young enough';
COMMENT ON COLUMN public.mark_prices.basis_count IS 'Number of mids in basis_sum';
COMMENT ON COLUMN public.mark_prices.funding_interval IS 'Length of the funding interval, seconds';
COMMENT ON COLUMN public.mark_prices.parameter_version IS 'Version of funding_parameters used';
COMMENT ON COLUMN public.mark_prices.mark_price IS 'Mark price, quote units per base unit';
COMMENT ON COLUMN public.mark_prices.oracle_price IS 'Index: price of the oracle print used, quote units';
COMMENT ON COLUMN public.mark_prices.funding_rate IS 'F_last: newest settled funding rate at the instant, a fraction per interval';
COMMENT ON COLUMN public.mark_prices.seconds_to_funding IS 'Time from the instant to the next funding boundary, seconds';
COMMENT ON COLUMN public.mark_prices.basis_sum IS 'Sum of (mid − index) over the averaging window, quote units; NULL: no mid in it';
COMMENT ON COLUMN public.mark_prices.basis_mean IS 'basis_sum / basis_count as used, quote units';
COMMENT ON COLUMN public.mark_prices.best_bid IS 'Highest bid of the book, quote units; NULL: none';
COMMENT ON COLUMN public.mark_prices.best_ask IS 'Lowest ask of the book, quote units; NULL: none';
COMMENT ON COLUMN public.mark_prices.last_trade_price IS 'Price of the last trade used, quote units; NULL: none young enough';
COMMENT ON COLUMN public.mark_prices.method IS 'Named method of the mark';
COMMENT ON COLUMN public.mark_prices.status IS 'fresh or stale: how old the oracle print was';
COMMENT ON COLUMN public.mark_prices.digest IS 'First eight bytes of the SHA-256 of the row as it was written, see docs/pricing/funding.md; NULL: written before there were any, or by another writer';
COMMENT ON COLUMN public.mark_prices.ema_state IS 'State of moving averages, a JSON object of decimal strings, where the method has any';

CREATE TABLE IF NOT EXISTS public.mark_price_heads (
    market_id     uuid           PRIMARY KEY REFERENCES public.markets (id) ON DELETE CASCADE,
    created_at    timestamptz    NOT NULL,
    mark_price    numeric(38,12) NOT NULL CHECK (mark_price > 0),
    oracle_price  numeric(38,12) NOT NULL CHECK (oracle_price > 0),
    funding_rate  numeric(24,12) NOT NULL,
    status        text           NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE public.mark_price_heads IS 'The newest mark of each market, kept by a trigger of mark_prices: writers need not touch it';
COMMENT ON COLUMN public.mark_price_heads.market_id IS 'The market';
COMMENT ON COLUMN public.mark_price_heads.created_at IS 'The grid instant of the mark; only ever moves forward';
COMMENT ON COLUMN public.mark_price_heads.mark_price IS 'Mark price, quote units per base unit';
COMMENT ON COLUMN public.mark_price_heads.oracle_price IS 'Index at that instant, quote units';
COMMENT ON COLUMN public.mark_price_heads.funding_rate IS 'F_last at that instant, a fraction per interval';
COMMENT ON COLUMN public.mark_price_heads.status IS 'fresh or stale: how old the oracle print was';

CREATE OR REPLACE FUNCTION public.keep_mark_price_heads() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.mark_price_heads AS head (market_id, created_at, mark_price, oracle_price, funding_rate, status)
    SELECT DISTINCT ON (market_id) market_id, created_at, mark_price, oracle_price, funding_rate, status
    FROM inserted
    ORDER BY market_id, created_at DESC
    ON CONFLICT (market_id) DO UPDATE SET
        created_at = excluded.created_at, mark_price = excluded.mark_price, oracle_price = excluded.oracle_price,
        funding_rate = excluded.funding_rate, status = excluded.status
    WHERE excluded.created_at > head.created_at;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.keep_mark_price_heads() IS 'Trigger of mark_prices: moves mark_price_heads forward';
CALL pg_temp.create_series_trigger('mark_prices', 'mark_prices_heads', 'INSERT', 'keep_mark_price_heads');

CREATE OR REPLACE VIEW public.latest_mark_prices WITH (security_invoker = true) AS
SELECT head.market_id, market.symbol, head.mark_price, head.oracle_price, head.funding_rate, head.created_at, head.status,
       now() - head.created_at AS age,
       market.is_active AND market.halted_at IS NULL AND head.created_at >= now() - make_interval(secs => public.schema_setting('mark_fresh_seconds')) AS usable
FROM public.mark_price_heads AS head
JOIN public.markets AS market ON market.id = head.market_id;
COMMENT ON VIEW public.latest_mark_prices IS 'The newest mark of each market; age is an interval, usable says whether it is young enough (mark_fresh_seconds) and the market open';
