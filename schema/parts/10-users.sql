-- Traders and their money.
CREATE TABLE IF NOT EXISTS public.users (
    id                uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    wallet_address    text          NOT NULL UNIQUE CHECK (wallet_address <> ''),
    username          text,
    email             text          UNIQUE,
    last_login        timestamptz,
    is_active         boolean       NOT NULL DEFAULT true,
    kyc_status        public.kyc_status NOT NULL DEFAULT 'pending',
    risk_level        public.risk_level NOT NULL DEFAULT 'medium',
    total_volume      numeric(38,12) NOT NULL DEFAULT 0 CHECK (total_volume >= 0),
    total_volume_usd  numeric(38,12) NOT NULL DEFAULT 0 CHECK (total_volume_usd >= 0),
    total_trades      integer       NOT NULL DEFAULT 0 CHECK (total_trades >= 0),
    total_pnl         numeric(38,12) NOT NULL DEFAULT 0,
    total_fees_paid   numeric(38,12) NOT NULL DEFAULT 0,
    referral_code     text          UNIQUE,
    referred_by       text,
    metadata          jsonb         NOT NULL DEFAULT '{}',
    program_account   text          UNIQUE,
    authority_pubkey  text,
    sub_accounts      jsonb         NOT NULL DEFAULT '[]',
    created_at        timestamptz   NOT NULL DEFAULT now(),
    updated_at        timestamptz   NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS users_created_at_idx ON public.users (created_at);
CREATE OR REPLACE TRIGGER users_updated_at BEFORE UPDATE ON public.users
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.users IS 'Traders: one row a wallet';
COMMENT ON COLUMN public.users.id IS 'Key';
COMMENT ON COLUMN public.users.wallet_address IS 'Solana address of the wallet, base58; the claim wallet_address of a token names it';
COMMENT ON COLUMN public.users.username IS 'Name shown; NULL: none chosen';
COMMENT ON COLUMN public.users.email IS 'Address for messages; NULL: none given';
COMMENT ON COLUMN public.users.last_login IS 'Time of the last login';
COMMENT ON COLUMN public.users.is_active IS 'False: may not trade';
COMMENT ON COLUMN public.users.kyc_status IS 'How far the identity has been checked';
COMMENT ON COLUMN public.users.risk_level IS 'Judgement of the risk team';
COMMENT ON COLUMN public.users.total_volume IS 'Traded so far, base units summed over markets';
COMMENT ON COLUMN public.users.total_volume_usd IS 'Traded so far, quote units (USD)';
COMMENT ON COLUMN public.users.total_trades IS 'Number of trades so far';
COMMENT ON COLUMN public.users.total_pnl IS 'Realised profit and loss so far, quote units';
COMMENT ON COLUMN public.users.total_fees_paid IS 'Fees paid so far, quote units; negative: rebates';
COMMENT ON COLUMN public.users.referral_code IS 'Code by which this user refers others';
COMMENT ON COLUMN public.users.referred_by IS 'Referral code of the user who referred this one';
COMMENT ON COLUMN public.users.metadata IS 'Whatever the backend keeps beside it, a JSON object';
COMMENT ON COLUMN public.users.program_account IS 'Account of the user in the on-chain program, base58';
COMMENT ON COLUMN public.users.authority_pubkey IS 'Key that may sign for the account, base58';
COMMENT ON COLUMN public.users.sub_accounts IS 'Sub-accounts, a JSON array';
COMMENT ON COLUMN public.users.created_at IS 'When the row was made';
COMMENT ON COLUMN public.users.updated_at IS 'When the row was changed last';

CREATE TABLE IF NOT EXISTS public.user_balances (
    id                 uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id            uuid           NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    asset              text           NOT NULL CHECK (asset <> ''),
    balance            numeric(38,12) NOT NULL DEFAULT 0 CHECK (balance >= 0),
    locked_balance     numeric(38,12) NOT NULL DEFAULT 0 CHECK (locked_balance >= 0),
    available_balance  numeric(38,12) GENERATED ALWAYS AS (balance - locked_balance) STORED,
    token_account      text,
    created_at         timestamptz    NOT NULL DEFAULT now(),
    updated_at         timestamptz    NOT NULL DEFAULT now(),
    UNIQUE (user_id, asset),
    CONSTRAINT user_balances_locked_within_balance_check CHECK (locked_balance <= balance)
);
CREATE OR REPLACE TRIGGER user_balances_updated_at BEFORE UPDATE ON public.user_balances
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
COMMENT ON TABLE public.user_balances IS 'Collateral: one row a user and asset; never negative, never more locked than there is';
COMMENT ON COLUMN public.user_balances.id IS 'Key';
COMMENT ON COLUMN public.user_balances.user_id IS 'Whose money it is';
COMMENT ON COLUMN public.user_balances.asset IS 'Asset, such as USDC';
COMMENT ON COLUMN public.user_balances.balance IS 'All of it, units of the asset';
COMMENT ON COLUMN public.user_balances.locked_balance IS 'The part that positions and orders hold, units of the asset';
COMMENT ON COLUMN public.user_balances.available_balance IS 'balance − locked_balance, units of the asset';
COMMENT ON COLUMN public.user_balances.token_account IS 'SPL token account, base58';
COMMENT ON COLUMN public.user_balances.created_at IS 'When the row was made';
COMMENT ON COLUMN public.user_balances.updated_at IS 'When the row was changed last';
