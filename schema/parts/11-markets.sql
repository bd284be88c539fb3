-- The markets, and the versioned parameters of their marks and funding.
CREATE TABLE IF NOT EXISTS public.markets (
    id                        uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    symbol                    text           NOT NULL UNIQUE CHECK (symbol <> ''),
    base_asset                text           NOT NULL,
    quote_asset               text           NOT NULL,
    program_id                text,
    market_account            text           UNIQUE,
    oracle_account            text,
    is_active                 boolean        NOT NULL DEFAULT true,
    max_leverage              integer        NOT NULL DEFAULT 1000 CHECK (max_leverage > 0),
    initial_margin_ratio      integer        NOT NULL DEFAULT 500 CHECK (initial_margin_ratio BETWEEN 1 AND 10000),
    maintenance_margin_ratio  integer        NOT NULL DEFAULT 300 CHECK (maintenance_margin_ratio BETWEEN 1 AND 10000),
    liquidation_fee_ratio     integer        NOT NULL DEFAULT 200 CHECK (liquidation_fee_ratio BETWEEN 0 AND 10000),
    tick_size                 numeric(38,12) NOT NULL DEFAULT 0.01 CHECK (tick_size > 0),
    step_size                 numeric(38,12) NOT NULL DEFAULT 0.001 CHECK (step_size > 0),
    min_order_size            numeric(38,12) NOT NULL DEFAULT 0.001 CHECK (min_order_size > 0),
    max_order_size            numeric(38,12) NOT NULL DEFAULT 1000000 CHECK (max_order_size > 0),
    funding_interval          integer        NOT NULL DEFAULT 3600
        CHECK (funding_interval > 0 AND funding_interval % 5 = 0 AND 86400 % funding_interval = 0),
    last_funding_time         timestamptz,
    current_funding_rate      numeric(24,12) NOT NULL DEFAULT 0,
    max_funding_rate          numeric(12,6)  NOT NULL DEFAULT 1000 CHECK (max_funding_rate BETWEEN 0 AND 10000),
    max_open_interest         numeric(38,12) CHECK (max_open_interest > 0),
    insurance_fund_ratio      numeric(12,6)  NOT NULL DEFAULT 100 CHECK (insurance_fund_ratio BETWEEN 0 AND 10000),
    max_price_change_ratio    numeric(12,6)  NOT NULL DEFAULT 1000 CHECK (max_price_change_ratio BETWEEN 0 AND 100000),
    halted_at                 timestamptz,
    halted_reason             text,
    metadata                  jsonb          NOT NULL DEFAULT '{}',
    created_at                timestamptz    NOT NULL DEFAULT now(),
    updated_at                timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT markets_margin_order_check CHECK (maintenance_margin_ratio <= initial_margin_ratio),
    CONSTRAINT markets_order_sizes_check CHECK (min_order_size <= max_order_size),
    CONSTRAINT markets_active_oracle_check CHECK (NOT is_active OR oracle_account IS NOT NULL)
);
CREATE OR REPLACE TRIGGER markets_updated_at BEFORE UPDATE ON public.markets
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.markets IS 'Perpetual futures markets';
COMMENT ON COLUMN public.markets.id IS 'Key';
COMMENT ON COLUMN public.markets.symbol IS 'Name of the market, such as BTC-PERP';
COMMENT ON COLUMN public.markets.base_asset IS 'What is traded, such as BTC; sizes are in its units';
COMMENT ON COLUMN public.markets.quote_asset IS 'What it is priced and settled in, such as USDC';
COMMENT ON COLUMN public.markets.program_id IS 'On-chain program of the exchange, base58; NULL: not deployed';
COMMENT ON COLUMN public.markets.market_account IS 'Account of the market in that program, base58';
COMMENT ON COLUMN public.markets.oracle_account IS 'Pyth price account that prices the market, base58; an active market has one';
COMMENT ON COLUMN public.markets.is_active IS 'False: not traded, no marks, no funding';
COMMENT ON COLUMN public.markets.max_leverage IS 'Highest leverage, hundredths (100 = 1×)';
COMMENT ON COLUMN public.markets.initial_margin_ratio IS 'Margin needed to open, basis points of the notional';
COMMENT ON COLUMN public.markets.maintenance_margin_ratio IS 'Margin below which a position is liquidated, basis points of the notional';
COMMENT ON COLUMN public.markets.liquidation_fee_ratio IS 'Fee of a liquidation, basis points of the notional';
COMMENT ON COLUMN public.markets.tick_size IS 'Smallest step of a price, quote units';
COMMENT ON COLUMN public.markets.step_size IS 'Smallest step of a size, base units';
COMMENT ON COLUMN public.markets.min_order_size IS 'Smallest order, base units';
COMMENT ON COLUMN public.markets.max_order_size IS 'Largest order, base units';
COMMENT ON COLUMN public.markets.funding_interval IS 'Time between fundings, seconds; a multiple of 5 that divides a day';
COMMENT ON COLUMN public.markets.last_funding_time IS 'Boundary of the last funding';
COMMENT ON COLUMN public.markets.current_funding_rate IS 'Rate of the last funding, a fraction per interval; positive: longs pay shorts';
COMMENT ON COLUMN public.markets.max_funding_rate IS 'Cap of the funding rate, either sign, basis points per interval';
COMMENT ON COLUMN public.markets.max_open_interest IS 'Highest open interest, base units; NULL: no limit';
COMMENT ON COLUMN public.markets.insurance_fund_ratio IS 'Part of the fees that goes to the insurance fund, basis points';
COMMENT ON COLUMN public.markets.max_price_change_ratio IS 'Largest change of price the program accepts at once, basis points';
COMMENT ON COLUMN public.markets.halted_at IS 'Since when the market is halted: no marks, no samples, funding skipped; NULL: it is not';
COMMENT ON COLUMN public.markets.halted_reason IS 'Why it is halted';
COMMENT ON COLUMN public.markets.metadata IS 'Whatever the backend keeps beside it, a JSON object';
COMMENT ON COLUMN public.markets.created_at IS 'When the row was made';
COMMENT ON COLUMN public.markets.updated_at IS 'When the row was changed last';

CREATE TABLE IF NOT EXISTS public.funding_parameters (
    market_id      uuid        NOT NULL REFERENCES public.markets (id),
    version        integer     NOT NULL CHECK (version > 0),
    in_force_from  timestamptz NOT NULL,
    method         text        NOT NULL CHECK (method <> ''),
    parameters     jsonb       NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (market_id, version)
);
COMMENT ON TABLE public.funding_parameters IS 'How marks and funding of a market are computed, by version; rows are never changed';
COMMENT ON COLUMN public.funding_parameters.market_id IS 'The market';
COMMENT ON COLUMN public.funding_parameters.version IS 'Counts up within the market from 1';
COMMENT ON COLUMN public.funding_parameters.in_force_from IS 'First instant it holds for: a funding boundary';
COMMENT ON COLUMN public.funding_parameters.method IS 'Named method, such as quantdesk';
COMMENT ON COLUMN public.funding_parameters.parameters IS 'The method''s parameters, a JSON object; numbers are strings of decimals';
COMMENT ON COLUMN public.funding_parameters.created_at IS 'When the version was recorded';
