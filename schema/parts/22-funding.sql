-- Premium samples and funding rates.
CALL pg_temp.create_series('premium_samples', $ddl$
    market_id            uuid           NOT NULL REFERENCES public.markets (id),
    created_at           timestamptz    NOT NULL,
    oracle_publish_time  timestamptz,
    oracle_slot          bigint,
    mark_created_at      timestamptz,
    premium              numeric(24,12),
    impact_bid           numeric(38,12) CHECK (impact_bid > 0),
    impact_ask           numeric(38,12) CHECK (impact_ask > 0),
    index_price          numeric(38,12) CHECK (index_price > 0),
    status               text           NOT NULL DEFAULT 'used'
        CHECK (status IN ('used', 'stale', 'dead', 'unproven', 'late', 'halted', 'unavailable')),
    PRIMARY KEY (market_id, created_at),
    CONSTRAINT premium_samples_used_check CHECK (status <> 'used' OR premium IS NOT NULL)
$ddl$);
COMMENT ON TABLE public.premium_samples IS 'Premium of the book over the index, sampled on a UTC grid of 5 s: the inputs of funding rates';
COMMENT ON COLUMN public.premium_samples.market_id IS 'The market';
COMMENT ON COLUMN public.premium_samples.created_at IS 'The grid instant it is for; one on a boundary belongs to the interval that begins there';
COMMENT ON COLUMN public.premium_samples.oracle_publish_time IS 'Publish time of the oracle print used; NULL: none usable';
COMMENT ON COLUMN public.premium_samples.oracle_slot IS 'Slot of the oracle print used';
COMMENT ON COLUMN public.premium_samples.mark_created_at IS 'Instant of the mark_prices row used, where there is no book';
COMMENT ON COLUMN public.premium_samples.premium IS 'Premium, a fraction of the index; NULL: no fresh oracle, and the sample leaves the divisor';
COMMENT ON COLUMN public.premium_samples.impact_bid IS 'Average price to sell the impact notional, quote units; NULL: missing depth';
COMMENT ON COLUMN public.premium_samples.impact_ask IS 'Average price to buy the impact notional, quote units; NULL: missing depth';
COMMENT ON COLUMN public.premium_samples.index_price IS 'Price of the oracle print used, quote units';
COMMENT ON COLUMN public.premium_samples.status IS 'used, or why not: stale, dead, unproven, late (its interval was settled), halted, unavailable';

CALL pg_temp.create_series('funding_rates', $ddl$
    market_id            uuid           NOT NULL REFERENCES public.markets (id),
    created_at           timestamptz    NOT NULL,
    oracle_publish_time  timestamptz,
    oracle_slot          bigint,
    settled_at           timestamptz    NOT NULL DEFAULT clock_timestamp(),
    funding_type         public.funding_type NOT NULL DEFAULT 'automatic',
    samples_expected     integer        CHECK (samples_expected >= 0),
    samples_used         integer        CHECK (samples_used >= 0),
    samples_unusable     integer        CHECK (samples_unusable >= 0),
    funding_interval     integer        CHECK (funding_interval > 0),
    parameter_version    integer,
    funding_rate         numeric(24,12) NOT NULL,
    premium_index        numeric(24,12),
    oracle_price         numeric(38,12) CHECK (oracle_price > 0),
    mark_price           numeric(38,12) CHECK (mark_price > 0),
    total_funding        numeric,
    premium_sum          numeric,
    coverage             numeric(24,12) CHECK (coverage BETWEEN 0 AND 1),
    long_size            numeric        CHECK (long_size >= 0),
    short_size           numeric        CHECK (short_size >= 0),
    method               text,
    status               text           NOT NULL DEFAULT 'settled'
        CHECK (status IN ('settled', 'late', 'skipped', 'manual', 'imported')),
    reason               text,
    actor                text,
    input_hash           text           CHECK (input_hash ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (market_id, created_at),
    CONSTRAINT funding_rates_skipped_check CHECK (status <> 'skipped' OR (funding_rate = 0 AND reason IS NOT NULL))
$ddl$);
COMMENT ON TABLE public.funding_rates IS 'Funding: one row per market and interval, with all that is needed to recompute it';
COMMENT ON COLUMN public.funding_rates.market_id IS 'The market';
COMMENT ON COLUMN public.funding_rates.created_at IS 'The boundary it settles: end of the interval';
COMMENT ON COLUMN public.funding_rates.oracle_publish_time IS 'Publish time of the boundary print';
COMMENT ON COLUMN public.funding_rates.oracle_slot IS 'Slot of the boundary print';
COMMENT ON COLUMN public.funding_rates.settled_at IS 'When the row was written';
COMMENT ON COLUMN public.funding_rates.funding_type IS 'automatic (the daemon), manual or emergency (a person; never overwritten by the daemon)';
COMMENT ON COLUMN public.funding_rates.samples_expected IS 'Sample instants in the interval';
COMMENT ON COLUMN public.funding_rates.samples_used IS 'Samples with a premium';
COMMENT ON COLUMN public.funding_rates.samples_unusable IS 'Samples without one: they leave the divisor';
COMMENT ON COLUMN public.funding_rates.funding_interval IS 'Length of the interval, seconds';
COMMENT ON COLUMN public.funding_rates.parameter_version IS 'Version of funding_parameters used';
COMMENT ON COLUMN public.funding_rates.funding_rate IS 'Rate, a fraction per interval; positive: longs pay shorts';
COMMENT ON COLUMN public.funding_rates.premium_index IS 'P: average premium of the interval, a fraction';
COMMENT ON COLUMN public.funding_rates.oracle_price IS 'Price of the boundary print, quote units; NULL: there was none that could be used';
COMMENT ON COLUMN public.funding_rates.mark_price IS 'Mark at the boundary, quote units';
COMMENT ON COLUMN public.funding_rates.total_funding IS '(long_size − short_size) · oracle_price · funding_rate, quote units, to 1e-6; NULL: late or skipped';
COMMENT ON COLUMN public.funding_rates.premium_sum IS 'Sum of the used premiums, a fraction';
COMMENT ON COLUMN public.funding_rates.coverage IS 'samples_used / samples_expected, a fraction';
COMMENT ON COLUMN public.funding_rates.long_size IS 'Open long positions at settlement, base units; NULL: late or skipped';
COMMENT ON COLUMN public.funding_rates.short_size IS 'Open short positions at settlement, base units; NULL: late or skipped';
COMMENT ON COLUMN public.funding_rates.method IS 'Named method of the rate';
COMMENT ON COLUMN public.funding_rates.status IS 'settled, late (after an outage), skipped (rate 0), manual, imported (from before this schema)';
COMMENT ON COLUMN public.funding_rates.reason IS 'Why it was skipped, late or set by hand';
COMMENT ON COLUMN public.funding_rates.actor IS 'Who set it by hand';
COMMENT ON COLUMN public.funding_rates.input_hash IS 'SHA-256 of every input as it was used: samples, boundary, parameters; hex';
