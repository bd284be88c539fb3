-- Daily figures of markets and users.
CREATE TABLE IF NOT EXISTS public.market_stats (
    id             uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id      uuid           NOT NULL REFERENCES public.markets (id),
    date           date           NOT NULL,
    open_price     numeric(38,12) CHECK (open_price > 0),
    high_price     numeric(38,12) CHECK (high_price > 0),
    low_price      numeric(38,12) CHECK (low_price > 0),
    close_price    numeric(38,12) CHECK (close_price > 0),
    volume         numeric(38,12) NOT NULL DEFAULT 0 CHECK (volume >= 0),
    volume_usd     numeric(38,12) NOT NULL DEFAULT 0 CHECK (volume_usd >= 0),
    trades_count   integer        NOT NULL DEFAULT 0 CHECK (trades_count >= 0),
    open_interest  numeric(38,12) NOT NULL DEFAULT 0 CHECK (open_interest >= 0),
    funding_rate   numeric(24,12) NOT NULL DEFAULT 0,
    created_at     timestamptz    NOT NULL DEFAULT now(),
    UNIQUE (market_id, date)
);
CREATE INDEX IF NOT EXISTS market_stats_date_idx ON public.market_stats (date);
COMMENT ON TABLE public.market_stats IS 'Figures of a market by UTC day, kept by refresh_statistics()';
COMMENT ON COLUMN public.market_stats.id IS 'Key';
COMMENT ON COLUMN public.market_stats.market_id IS 'The market';
COMMENT ON COLUMN public.market_stats.date IS 'The day, UTC';
COMMENT ON COLUMN public.market_stats.open_price IS 'First oracle price of the day, quote units';
COMMENT ON COLUMN public.market_stats.high_price IS 'Highest oracle price of the day, quote units';
COMMENT ON COLUMN public.market_stats.low_price IS 'Lowest oracle price of the day, quote units';
COMMENT ON COLUMN public.market_stats.close_price IS 'Last oracle price of the day, quote units';
COMMENT ON COLUMN public.market_stats.volume IS 'Traded, base units, sum over the rows of trades';
COMMENT ON COLUMN public.market_stats.volume_usd IS 'Traded, quote units, sum over the rows of trades';
COMMENT ON COLUMN public.market_stats.trades_count IS 'Rows of trades';
COMMENT ON COLUMN public.market_stats.open_interest IS 'Size of open long positions when the day was last current, base units';
COMMENT ON COLUMN public.market_stats.funding_rate IS 'Last funding rate of the day, a fraction per interval';
COMMENT ON COLUMN public.market_stats.created_at IS 'When the row was made';

CREATE TABLE IF NOT EXISTS public.user_stats (
    id                uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id           uuid           NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    date              date           NOT NULL,
    total_volume      numeric(38,12) NOT NULL DEFAULT 0 CHECK (total_volume >= 0),
    total_volume_usd  numeric(38,12) NOT NULL DEFAULT 0 CHECK (total_volume_usd >= 0),
    trades_count      integer        NOT NULL DEFAULT 0 CHECK (trades_count >= 0),
    realized_pnl      numeric(38,12) NOT NULL DEFAULT 0,
    unrealized_pnl    numeric(38,12) NOT NULL DEFAULT 0,
    fees_paid         numeric(38,12) NOT NULL DEFAULT 0,
    created_at        timestamptz    NOT NULL DEFAULT now(),
    UNIQUE (user_id, date)
);
CREATE INDEX IF NOT EXISTS user_stats_date_idx ON public.user_stats (date);
COMMENT ON TABLE public.user_stats IS 'Figures of a user by UTC day, kept by refresh_statistics()';
COMMENT ON COLUMN public.user_stats.id IS 'Key';
COMMENT ON COLUMN public.user_stats.user_id IS 'The user';
COMMENT ON COLUMN public.user_stats.date IS 'The day, UTC';
COMMENT ON COLUMN public.user_stats.total_volume IS 'Traded, base units summed over markets';
COMMENT ON COLUMN public.user_stats.total_volume_usd IS 'Traded, quote units';
COMMENT ON COLUMN public.user_stats.trades_count IS 'Number of trades';
COMMENT ON COLUMN public.user_stats.realized_pnl IS 'Profit and loss realised that day, quote units';
COMMENT ON COLUMN public.user_stats.unrealized_pnl IS 'Unrealised profit and loss of open positions when the day was last current, quote units';
COMMENT ON COLUMN public.user_stats.fees_paid IS 'Fees paid that day, quote units';
COMMENT ON COLUMN public.user_stats.created_at IS 'When the row was made';

CREATE TABLE IF NOT EXISTS public.statistics_due (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day  date   NOT NULL
);
COMMENT ON TABLE public.statistics_due IS 'Days whose trades changed since refresh_statistics() ran: rows are only added here, so writers of trades never wait for each other';
COMMENT ON COLUMN public.statistics_due.id IS 'Key';
COMMENT ON COLUMN public.statistics_due.day IS 'The day, UTC';
