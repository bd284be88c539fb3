-- Positions, orders, trades, liquidations, and the fund that pays when a liquidation falls short.
CREATE TABLE IF NOT EXISTS public.positions (
    id                 uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id            uuid           NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    market_id          uuid           NOT NULL REFERENCES public.markets (id),
    position_account   text           UNIQUE,
    side               public.position_side NOT NULL,
    size               numeric(38,12) NOT NULL CHECK (size >= 0),
    entry_price        numeric(38,12) NOT NULL CHECK (entry_price > 0),
    current_price      numeric(38,12) CHECK (current_price > 0),
    margin             numeric(38,12) NOT NULL CHECK (margin >= 0),
    leverage           integer        NOT NULL CHECK (leverage > 0),
    unrealized_pnl     numeric(38,12) NOT NULL DEFAULT 0,
    realized_pnl       numeric(38,12) NOT NULL DEFAULT 0,
    funding_fees       numeric(38,12) NOT NULL DEFAULT 0,
    trading_fees       numeric(38,12) NOT NULL DEFAULT 0,
    is_liquidated      boolean        NOT NULL DEFAULT false,
    liquidation_price  numeric(38,12) CHECK (liquidation_price >= 0),
    health_factor      numeric(24,6),
    margin_ratio       numeric(24,6),
    closed_at          timestamptz,
    metadata           jsonb          NOT NULL DEFAULT '{}',
    created_at         timestamptz    NOT NULL DEFAULT now(),
    updated_at         timestamptz    NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS positions_user_id_idx ON public.positions (user_id);
CREATE INDEX IF NOT EXISTS positions_open_idx ON public.positions (market_id, side)
    INCLUDE (size) WHERE closed_at IS NULL AND NOT is_liquidated AND size > 0;
CREATE OR REPLACE TRIGGER positions_updated_at BEFORE UPDATE ON public.positions
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.positions IS 'Positions of users in markets, open and closed';
COMMENT ON COLUMN public.positions.id IS 'Key';
COMMENT ON COLUMN public.positions.user_id IS 'Whose position it is';
COMMENT ON COLUMN public.positions.market_id IS 'In which market';
COMMENT ON COLUMN public.positions.position_account IS 'Account of the position in the on-chain program, base58';
COMMENT ON COLUMN public.positions.side IS 'long or short';
COMMENT ON COLUMN public.positions.size IS 'Size, base units; 0: closed';
COMMENT ON COLUMN public.positions.entry_price IS 'Average price it was opened at, quote units per base unit';
COMMENT ON COLUMN public.positions.current_price IS 'Price the backend saw last, quote units; active_positions has the live one';
COMMENT ON COLUMN public.positions.margin IS 'Collateral of the position, quote units';
COMMENT ON COLUMN public.positions.leverage IS 'Leverage as the program counts it (markets.max_leverage: 100 = 1×)';
COMMENT ON COLUMN public.positions.unrealized_pnl IS 'Unrealised profit and loss the backend saw last, quote units; active_positions has the live one';
COMMENT ON COLUMN public.positions.realized_pnl IS 'Profit and loss realised so far, quote units';
COMMENT ON COLUMN public.positions.funding_fees IS 'Funding paid so far, quote units; negative: received';
COMMENT ON COLUMN public.positions.trading_fees IS 'Fees paid so far, quote units';
COMMENT ON COLUMN public.positions.is_liquidated IS 'True: it was liquidated';
COMMENT ON COLUMN public.positions.liquidation_price IS 'Mark price at which it becomes liquidatable, quote units';
COMMENT ON COLUMN public.positions.health_factor IS 'Equity / maintenance requirement × 100 as the backend saw it last, per cent; active_positions has the live one';
COMMENT ON COLUMN public.positions.margin_ratio IS 'Equity / notional as the backend saw it last, per cent';
COMMENT ON COLUMN public.positions.closed_at IS 'When it was closed; NULL: open';
COMMENT ON COLUMN public.positions.metadata IS 'Whatever the backend keeps beside it, a JSON object';
COMMENT ON COLUMN public.positions.created_at IS 'When it was opened';
COMMENT ON COLUMN public.positions.updated_at IS 'When the row was changed last';

CREATE TABLE IF NOT EXISTS public.orders (
    id                  uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id             uuid           NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    market_id           uuid           NOT NULL REFERENCES public.markets (id),
    order_account       text           UNIQUE,
    order_type          public.order_type NOT NULL,
    side                public.position_side NOT NULL,
    size                numeric(38,12) NOT NULL CHECK (size > 0),
    price               numeric(38,12) CHECK (price > 0),
    stop_price          numeric(38,12) CHECK (stop_price > 0),
    trailing_distance   numeric(38,12) CHECK (trailing_distance > 0),
    leverage            integer        NOT NULL DEFAULT 100 CHECK (leverage > 0),
    status              public.order_status NOT NULL DEFAULT 'pending',
    filled_size         numeric(38,12) NOT NULL DEFAULT 0 CHECK (filled_size >= 0),
    remaining_size      numeric(38,12) GENERATED ALWAYS AS (size - filled_size) STORED,
    average_fill_price  numeric(38,12) CHECK (average_fill_price > 0),
    expires_at          timestamptz,
    filled_at           timestamptz,
    cancelled_at        timestamptz,
    metadata            jsonb          NOT NULL DEFAULT '{}',
    created_at          timestamptz    NOT NULL DEFAULT now(),
    updated_at          timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT orders_filled_within_size_check CHECK (filled_size <= size),
    CONSTRAINT orders_limit_has_price_check CHECK (order_type NOT IN ('limit', 'post_only') OR price IS NOT NULL)
);
CREATE INDEX IF NOT EXISTS orders_user_id_idx ON public.orders (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS orders_book_idx ON public.orders (market_id, side, price)
    INCLUDE (remaining_size, expires_at) WHERE status IN ('pending', 'partially_filled') AND order_type IN ('limit', 'post_only');
CREATE OR REPLACE TRIGGER orders_updated_at BEFORE UPDATE ON public.orders
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.orders IS 'Orders of users, live and done';
COMMENT ON COLUMN public.orders.id IS 'Key';
COMMENT ON COLUMN public.orders.user_id IS 'Whose order it is';
COMMENT ON COLUMN public.orders.market_id IS 'In which market';
COMMENT ON COLUMN public.orders.order_account IS 'Account of the order in the on-chain program, base58';
COMMENT ON COLUMN public.orders.order_type IS 'How it is to be executed; limit and post_only rest in the book';
COMMENT ON COLUMN public.orders.side IS 'long: a bid, short: an ask';
COMMENT ON COLUMN public.orders.size IS 'Size, base units';
COMMENT ON COLUMN public.orders.price IS 'Limit price, quote units per base unit; NULL: at market';
COMMENT ON COLUMN public.orders.stop_price IS 'Price that triggers it, quote units';
COMMENT ON COLUMN public.orders.trailing_distance IS 'Distance of a trailing stop, quote units';
COMMENT ON COLUMN public.orders.leverage IS 'Leverage as the program counts it (markets.max_leverage: 100 = 1×)';
COMMENT ON COLUMN public.orders.status IS 'Where it stands';
COMMENT ON COLUMN public.orders.filled_size IS 'Filled so far, base units';
COMMENT ON COLUMN public.orders.remaining_size IS 'size − filled_size, base units';
COMMENT ON COLUMN public.orders.average_fill_price IS 'Average price of what was filled, quote units';
COMMENT ON COLUMN public.orders.expires_at IS 'When it expires; NULL: never';
COMMENT ON COLUMN public.orders.filled_at IS 'When it was filled completely';
COMMENT ON COLUMN public.orders.cancelled_at IS 'When it was cancelled';
COMMENT ON COLUMN public.orders.metadata IS 'Whatever the backend keeps beside it, a JSON object';
COMMENT ON COLUMN public.orders.created_at IS 'When it was placed';
COMMENT ON COLUMN public.orders.updated_at IS 'When the row was changed last';

CALL pg_temp.create_series('trades', $ddl$
    id                     uuid           NOT NULL DEFAULT gen_random_uuid(),
    created_at             timestamptz    NOT NULL DEFAULT now(),
    user_id                uuid           NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    market_id              uuid           NOT NULL REFERENCES public.markets (id),
    position_id            uuid           REFERENCES public.positions (id),
    order_id               uuid           REFERENCES public.orders (id),
    trade_account          text,
    transaction_signature  text,
    side                   public.trade_side NOT NULL,
    size                   numeric(38,12) NOT NULL CHECK (size > 0),
    price                  numeric(38,12) NOT NULL CHECK (price > 0),
    value                  numeric(38,12) GENERATED ALWAYS AS (size * price) STORED,
    fees                   numeric(38,12) NOT NULL DEFAULT 0,
    pnl                    numeric(38,12),
    metadata               jsonb          NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, created_at)
$ddl$);
CREATE INDEX IF NOT EXISTS trades_market_id_idx ON public.trades (market_id, created_at DESC) INCLUDE (price, size, value);
CREATE INDEX IF NOT EXISTS trades_user_id_idx ON public.trades (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS trades_position_id_idx ON public.trades (position_id) WHERE position_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS trades_order_id_idx ON public.trades (order_id) WHERE order_id IS NOT NULL;
COMMENT ON TABLE public.trades IS 'Executions: one row for each user''s part in one';
COMMENT ON COLUMN public.trades.id IS 'Key, with created_at';
COMMENT ON COLUMN public.trades.created_at IS 'When it was executed';
COMMENT ON COLUMN public.trades.user_id IS 'Whose trade it is';
COMMENT ON COLUMN public.trades.market_id IS 'In which market';
COMMENT ON COLUMN public.trades.position_id IS 'The position it changed';
COMMENT ON COLUMN public.trades.order_id IS 'The order it filled';
COMMENT ON COLUMN public.trades.trade_account IS 'Account of the trade in the on-chain program, base58';
COMMENT ON COLUMN public.trades.transaction_signature IS 'Signature of the transaction, base58';
COMMENT ON COLUMN public.trades.side IS 'What this user did';
COMMENT ON COLUMN public.trades.size IS 'Size, base units';
COMMENT ON COLUMN public.trades.price IS 'Price, quote units per base unit';
COMMENT ON COLUMN public.trades.value IS 'size · price, quote units';
COMMENT ON COLUMN public.trades.fees IS 'Fee paid, quote units; negative: a rebate';
COMMENT ON COLUMN public.trades.pnl IS 'Profit and loss realised by it, quote units; NULL: it opened or added';
COMMENT ON COLUMN public.trades.metadata IS 'Whatever the backend keeps beside it, a JSON object';

CREATE TABLE IF NOT EXISTS public.liquidations (
    id                     uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id                uuid           NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    market_id              uuid           NOT NULL REFERENCES public.markets (id),
    position_id            uuid           REFERENCES public.positions (id),
    liquidator_address     text           NOT NULL,
    liquidation_type       public.liquidation_type NOT NULL,
    liquidated_size        numeric(38,12) NOT NULL CHECK (liquidated_size > 0),
    liquidation_price      numeric(38,12) NOT NULL CHECK (liquidation_price > 0),
    liquidation_fee        numeric(38,12) NOT NULL DEFAULT 0 CHECK (liquidation_fee >= 0),
    remaining_margin       numeric(38,12),
    transaction_signature  text,
    metadata               jsonb          NOT NULL DEFAULT '{}',
    created_at             timestamptz    NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS liquidations_user_id_idx ON public.liquidations (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS liquidations_market_id_idx ON public.liquidations (market_id, created_at DESC);
CREATE INDEX IF NOT EXISTS liquidations_position_id_idx ON public.liquidations (position_id);
COMMENT ON TABLE public.liquidations IS 'Positions taken over because their margin did not suffice';
COMMENT ON COLUMN public.liquidations.id IS 'Key';
COMMENT ON COLUMN public.liquidations.user_id IS 'Whose position it was';
COMMENT ON COLUMN public.liquidations.market_id IS 'In which market';
COMMENT ON COLUMN public.liquidations.position_id IS 'The position';
COMMENT ON COLUMN public.liquidations.liquidator_address IS 'Wallet of the liquidator, base58';
COMMENT ON COLUMN public.liquidations.liquidation_type IS 'Who took the position over';
COMMENT ON COLUMN public.liquidations.liquidated_size IS 'Size taken over, base units';
COMMENT ON COLUMN public.liquidations.liquidation_price IS 'Price it was taken over at, quote units';
COMMENT ON COLUMN public.liquidations.liquidation_fee IS 'Fee, quote units';
COMMENT ON COLUMN public.liquidations.remaining_margin IS 'Margin left to the user, quote units; negative: the shortfall that the insurance fund paid';
COMMENT ON COLUMN public.liquidations.transaction_signature IS 'Signature of the transaction, base58';
COMMENT ON COLUMN public.liquidations.metadata IS 'Whatever the backend keeps beside it, a JSON object';
COMMENT ON COLUMN public.liquidations.created_at IS 'When it happened';

CREATE TABLE IF NOT EXISTS public.insurance_fund (
    id                   uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id            uuid           NOT NULL UNIQUE REFERENCES public.markets (id),
    balance              numeric(38,12) NOT NULL DEFAULT 0 CHECK (balance >= 0),
    total_contributions  numeric(38,12) NOT NULL DEFAULT 0 CHECK (total_contributions >= 0),
    total_payouts        numeric(38,12) NOT NULL DEFAULT 0 CHECK (total_payouts >= 0),
    created_at           timestamptz    NOT NULL DEFAULT now(),
    updated_at           timestamptz    NOT NULL DEFAULT now()
);
CREATE OR REPLACE TRIGGER insurance_fund_updated_at BEFORE UPDATE ON public.insurance_fund
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.insurance_fund IS 'What pays when a liquidation falls short: one row a market, made with the market';
COMMENT ON COLUMN public.insurance_fund.id IS 'Key';
COMMENT ON COLUMN public.insurance_fund.market_id IS 'The market';
COMMENT ON COLUMN public.insurance_fund.balance IS 'What is in it, quote units';
COMMENT ON COLUMN public.insurance_fund.total_contributions IS 'Paid in so far, quote units';
COMMENT ON COLUMN public.insurance_fund.total_payouts IS 'Paid out so far, quote units';
COMMENT ON COLUMN public.insurance_fund.created_at IS 'When the row was made';
COMMENT ON COLUMN public.insurance_fund.updated_at IS 'When the row was changed last';

CREATE OR REPLACE FUNCTION public.found_insurance_fund() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.insurance_fund (market_id) VALUES (NEW.id) ON CONFLICT (market_id) DO NOTHING;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION public.found_insurance_fund() IS 'Trigger of markets: every market has its row in insurance_fund';
CREATE OR REPLACE TRIGGER markets_insurance_fund AFTER INSERT ON public.markets
    FOR EACH ROW EXECUTE FUNCTION public.found_insurance_fund();
