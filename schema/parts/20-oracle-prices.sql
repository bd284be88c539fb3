-- Oracle prices: every print that was stored, and the newest usable one of each market.
CREATE SEQUENCE IF NOT EXISTS public.oracle_prices_external_slot AS bigint INCREMENT BY -1 MAXVALUE -1 START WITH -1;
COMMENT ON SEQUENCE public.oracle_prices_external_slot IS 'Slots of prints whose writer gives none: −1, −2, … never collide with a real one';

CALL pg_temp.create_series('oracle_prices', $ddl$
    market_id       uuid           NOT NULL REFERENCES public.markets (id),
    created_at      timestamptz    NOT NULL DEFAULT now(),
    slot            bigint         NOT NULL DEFAULT nextval('public.oracle_prices_external_slot'),
    received_at     timestamptz,
    source          public.oracle_source NOT NULL DEFAULT 'external',
    verdict         public.oracle_verdict,
    exponent        smallint       NOT NULL CHECK (exponent BETWEEN -18 AND 18),
    price           numeric(38,12) NOT NULL CHECK (price > 0),
    confidence      numeric(38,12) NOT NULL DEFAULT 0 CHECK (confidence >= 0),
    ema_price       numeric(38,12),
    ema_confidence  numeric(38,12),
    PRIMARY KEY (market_id, created_at, slot),
    CONSTRAINT oracle_prices_verdict_check CHECK ((source = 'external') = (verdict IS NULL))
$ddl$);
COMMENT ON TABLE public.oracle_prices IS 'Pyth prints: one row each, however often and by whichever way it was seen';
COMMENT ON COLUMN public.oracle_prices.market_id IS 'The market that the print prices';
COMMENT ON COLUMN public.oracle_prices.created_at IS 'Publish time of the print (of external rows: whatever their writer gave, by default the time of writing)';
COMMENT ON COLUMN public.oracle_prices.slot IS 'Posted slot (PriceUpdateV2) or publish slot (legacy, Hermes); negative where the writer gave none';
COMMENT ON COLUMN public.oracle_prices.received_at IS 'When this machine received it first; NULL: external';
COMMENT ON COLUMN public.oracle_prices.source IS 'By which way it reached the database first; external: another team''s writer, never an input of marks or funding';
COMMENT ON COLUMN public.oracle_prices.verdict IS 'What acceptance decided: accepted, wide (large confidence interval), quarantined (far off its own EMA); NULL: external';
COMMENT ON COLUMN public.oracle_prices.exponent IS 'Power of ten of Pyth''s raw integers, such as −8; the columns here are scaled already';
COMMENT ON COLUMN public.oracle_prices.price IS 'Price, quote units per base unit';
COMMENT ON COLUMN public.oracle_prices.confidence IS 'Confidence interval, ± quote units';
COMMENT ON COLUMN public.oracle_prices.ema_price IS 'Pyth''s exponential moving average of the price, quote units; NULL: not given';
COMMENT ON COLUMN public.oracle_prices.ema_confidence IS 'Pyth''s exponential moving average of the confidence, quote units; NULL: not given';

CREATE TABLE IF NOT EXISTS public.oracle_price_heads (
    market_id       uuid           PRIMARY KEY REFERENCES public.markets (id) ON DELETE CASCADE,
    created_at      timestamptz    NOT NULL,
    slot            bigint         NOT NULL,
    received_at     timestamptz,
    source          public.oracle_source NOT NULL CHECK (source <> 'external'),
    verdict         public.oracle_verdict NOT NULL CHECK (verdict <> 'quarantined'),
    exponent        smallint       NOT NULL,
    price           numeric(38,12) NOT NULL CHECK (price > 0),
    confidence      numeric(38,12) NOT NULL CHECK (confidence >= 0),
    ema_price       numeric(38,12),
    ema_confidence  numeric(38,12)
) WITH (fillfactor = 50);
COMMENT ON TABLE public.oracle_price_heads IS 'The newest accepted or wide print of each market, kept by a trigger of oracle_prices: writers need not touch it';
COMMENT ON COLUMN public.oracle_price_heads.market_id IS 'The market';
COMMENT ON COLUMN public.oracle_price_heads.created_at IS 'Publish time of the print; only ever moves forward';
COMMENT ON COLUMN public.oracle_price_heads.slot IS 'Slot of the print';
COMMENT ON COLUMN public.oracle_price_heads.received_at IS 'When it was received first';
COMMENT ON COLUMN public.oracle_price_heads.source IS 'By which way it came; never external';
COMMENT ON COLUMN public.oracle_price_heads.verdict IS 'accepted or wide';
COMMENT ON COLUMN public.oracle_price_heads.exponent IS 'Power of ten of Pyth''s raw integers';
COMMENT ON COLUMN public.oracle_price_heads.price IS 'Price, quote units per base unit';
COMMENT ON COLUMN public.oracle_price_heads.confidence IS 'Confidence interval, ± quote units';
COMMENT ON COLUMN public.oracle_price_heads.ema_price IS 'Pyth''s average of the price, quote units';
COMMENT ON COLUMN public.oracle_price_heads.ema_confidence IS 'Pyth''s average of the confidence, quote units';

-- Rows in the order of their market: two batches at once take the row locks in the same order.
CREATE OR REPLACE FUNCTION public.keep_oracle_price_heads() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.oracle_price_heads AS head (market_id, created_at, slot, received_at, source, verdict, exponent,
                                                   price, confidence, ema_price, ema_confidence)
    SELECT DISTINCT ON (market_id) market_id, created_at, slot, received_at, source, verdict, exponent,
           price, confidence, ema_price, ema_confidence
    FROM inserted
    WHERE verdict IN ('accepted', 'wide') AND source <> 'external'
    ORDER BY market_id, created_at DESC, slot DESC
    ON CONFLICT (market_id) DO UPDATE SET
        created_at = excluded.created_at, slot = excluded.slot, received_at = excluded.received_at,
        source = excluded.source, verdict = excluded.verdict, exponent = excluded.exponent, price = excluded.price,
        confidence = excluded.confidence, ema_price = excluded.ema_price, ema_confidence = excluded.ema_confidence
    WHERE (excluded.created_at, excluded.slot) > (head.created_at, head.slot);
    INSERT INTO public.statistics_due (day)
    SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date FROM inserted
    WHERE created_at < date_trunc('day', now(), 'UTC');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.keep_oracle_price_heads() IS 'Trigger of oracle_prices: moves oracle_price_heads forward, and notes the days that late prints belong to';
CALL pg_temp.create_series_trigger('oracle_prices', 'oracle_prices_heads', 'INSERT', 'keep_oracle_price_heads');

CREATE OR REPLACE VIEW public.latest_oracle_prices WITH (security_invoker = true) AS
SELECT head.market_id, market.symbol, head.price, head.confidence, head.exponent, head.slot, head.created_at,
       head.ema_price, head.ema_confidence, head.source, head.verdict, head.received_at,
       now() - head.created_at AS age,
       market.is_active AND market.halted_at IS NULL AND head.created_at >= now() - make_interval(secs => public.schema_setting('oracle_fresh_seconds')) AS usable
FROM public.oracle_price_heads AS head
JOIN public.markets AS market ON market.id = head.market_id;
COMMENT ON VIEW public.latest_oracle_prices IS 'The newest usable print of each market; age is an interval, usable says whether it is fresh (oracle_fresh_seconds) and the market open';
