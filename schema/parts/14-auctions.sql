-- Just-in-time liquidity: makers quote for a taker's size, the best quotes within the slippage limit fill it.
CREATE TABLE IF NOT EXISTS public.auctions (
    id                uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    symbol            text           NOT NULL CHECK (symbol <> ''),
    side              public.trade_side NOT NULL,
    size              numeric(38,12) NOT NULL CHECK (size > 0),
    reference_price   numeric(38,12) NOT NULL CHECK (reference_price > 0),
    max_slippage_bps  integer        NOT NULL CHECK (max_slippage_bps BETWEEN 0 AND 10000),
    expires_at        timestamptz    NOT NULL,
    settled           boolean        NOT NULL DEFAULT false,
    settlement_type   public.settlement_type DEFAULT 'auction',
    created_at        timestamptz    NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS auctions_open_idx ON public.auctions (expires_at) WHERE NOT settled;
CREATE INDEX IF NOT EXISTS auctions_symbol_idx ON public.auctions (symbol, created_at DESC);
COMMENT ON TABLE public.auctions IS 'Auctions of a taker''s size among makers';
COMMENT ON COLUMN public.auctions.id IS 'Key';
COMMENT ON COLUMN public.auctions.symbol IS 'Symbol of the market';
COMMENT ON COLUMN public.auctions.side IS 'What the taker does: a buyer is filled by the lowest quotes, a seller by the highest';
COMMENT ON COLUMN public.auctions.size IS 'Size wanted, base units';
COMMENT ON COLUMN public.auctions.reference_price IS 'Price that slippage is measured from, quote units';
COMMENT ON COLUMN public.auctions.max_slippage_bps IS 'Furthest that a quote may be from the reference, basis points';
COMMENT ON COLUMN public.auctions.expires_at IS 'Last moment for quotes';
COMMENT ON COLUMN public.auctions.settled IS 'True: settled, once and for all';
COMMENT ON COLUMN public.auctions.settlement_type IS 'What it was settled by; insurance_fund: part of it or all';
COMMENT ON COLUMN public.auctions.created_at IS 'When it was opened';

CREATE TABLE IF NOT EXISTS public.auction_quotes (
    id          uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    auction_id  uuid           NOT NULL REFERENCES public.auctions (id) ON DELETE CASCADE,
    maker_id    text           NOT NULL CHECK (maker_id <> ''),
    price       numeric(38,12) NOT NULL CHECK (price > 0),
    size        numeric(38,12) CHECK (size > 0),
    created_at  timestamptz    NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS auction_quotes_auction_id_idx ON public.auction_quotes (auction_id, price);
COMMENT ON TABLE public.auction_quotes IS 'What makers offer in an auction';
COMMENT ON COLUMN public.auction_quotes.id IS 'Key';
COMMENT ON COLUMN public.auction_quotes.auction_id IS 'The auction';
COMMENT ON COLUMN public.auction_quotes.maker_id IS 'The maker: a wallet or the backend''s name for one';
COMMENT ON COLUMN public.auction_quotes.price IS 'Price offered, quote units';
COMMENT ON COLUMN public.auction_quotes.size IS 'Size offered, base units; NULL (history from before sizes were kept): the whole auction';
COMMENT ON COLUMN public.auction_quotes.created_at IS 'When it was offered; of equal prices the earlier is filled first';

CREATE TABLE IF NOT EXISTS public.auction_settlements (
    id          uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    auction_id  uuid           NOT NULL REFERENCES public.auctions (id) ON DELETE CASCADE,
    maker_id    text,
    fill_price  numeric(38,12) CHECK (fill_price > 0),
    fill_size   numeric(38,12) CHECK (fill_size > 0),
    reason      text,
    created_at  timestamptz    NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS auction_settlements_auction_id_idx ON public.auction_settlements (auction_id);
COMMENT ON TABLE public.auction_settlements IS 'What became of an auction''s size, one row a part of it';
COMMENT ON COLUMN public.auction_settlements.id IS 'Key';
COMMENT ON COLUMN public.auction_settlements.auction_id IS 'The auction';
COMMENT ON COLUMN public.auction_settlements.maker_id IS 'The maker who filled it; NULL: the insurance fund, or nobody';
COMMENT ON COLUMN public.auction_settlements.fill_price IS 'Price of the part, quote units; NULL: unfilled';
COMMENT ON COLUMN public.auction_settlements.fill_size IS 'Size of the part, base units';
COMMENT ON COLUMN public.auction_settlements.reason IS 'quote, insurance_fund, unfilled: …';
COMMENT ON COLUMN public.auction_settlements.created_at IS 'When it was settled';
