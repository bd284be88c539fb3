-- Settlement of a just-in-time auction.
CREATE OR REPLACE FUNCTION public.settle_auction(p_auction_id uuid) RETURNS SETOF public.auction_settlements
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    auction public.auctions;
    quoted record;
    left_over numeric;
    taken numeric;
BEGIN
    SELECT * INTO auction FROM public.auctions WHERE id = p_auction_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('settle_auction: there is no auction %s', p_auction_id);
    ELSIF auction.settled THEN
        RETURN QUERY SELECT * FROM public.auction_settlements WHERE auction_id = p_auction_id ORDER BY created_at, id;
        RETURN;
    END IF;
    left_over := auction.size;
    FOR quoted IN SELECT * FROM public.eligible_quotes(p_auction_id) LOOP
        EXIT WHEN left_over = 0;
        taken := least(left_over, quoted.size);
        INSERT INTO public.auction_settlements (auction_id, maker_id, fill_price, fill_size, reason, created_at)
        VALUES (p_auction_id, quoted.maker_id, quoted.price, taken, 'quote', clock_timestamp());
        left_over := left_over - taken;
    END LOOP;
    IF left_over > 0 AND auction.expires_at > now() THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('settle_auction: %s is open until %s, and its quotes leave %s unfilled',
                             p_auction_id, auction.expires_at, left_over);
    END IF;
    taken := public.draw_on_insurance_fund(auction, left_over);
    IF left_over > taken THEN
        INSERT INTO public.auction_settlements (auction_id, fill_size, reason, created_at)
        VALUES (p_auction_id, left_over - taken, 'unfilled: no quote within the slippage limit, insurance fund too small',
                clock_timestamp());
    END IF;
    UPDATE public.auctions SET settled = true,
        settlement_type = CASE WHEN taken > 0 THEN 'insurance_fund' ELSE 'auction' END::public.settlement_type
    WHERE id = p_auction_id;
    RETURN QUERY SELECT * FROM public.auction_settlements WHERE auction_id = p_auction_id ORDER BY created_at, id;
END $$;
COMMENT ON FUNCTION public.settle_auction(uuid) IS
    'Settles an auction that has expired, or whose quotes fill it: the best quotes within max_slippage_bps first (of equal prices the earlier), then the market''s insurance fund at the reference price as far as its balance reaches; what is left is marked unfilled. Returns the settlements; called again, the same ones. no_data_found for an unknown auction, object_not_in_prerequisite_state for one that must wait';

CREATE OR REPLACE FUNCTION public.eligible_quotes(p_auction_id uuid)
RETURNS TABLE (maker_id text, price numeric, size numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT q.maker_id, q.price, coalesce(q.size, a.size)
    FROM public.auctions AS a
    JOIN public.auction_quotes AS q ON q.auction_id = a.id
    WHERE a.id = p_auction_id AND q.created_at <= a.expires_at
      AND CASE a.side WHEN 'buy' THEN q.price * 10000 <= a.reference_price * (10000 + a.max_slippage_bps)
                      ELSE q.price * 10000 >= a.reference_price * (10000 - a.max_slippage_bps) END
    ORDER BY CASE a.side WHEN 'buy' THEN q.price ELSE -q.price END, q.created_at, q.id
$$;
COMMENT ON FUNCTION public.eligible_quotes(uuid) IS 'Part of settle_auction: quotes in time and within the slippage limit, the best first';

CREATE OR REPLACE FUNCTION public.draw_on_insurance_fund(auction public.auctions, wanted numeric) RETURNS numeric
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fund public.insurance_fund;
    taken numeric;
BEGIN
    SELECT f.* INTO fund FROM public.insurance_fund AS f JOIN public.markets AS m ON m.id = f.market_id
    WHERE m.symbol = auction.symbol FOR UPDATE OF f;
    taken := coalesce(least(wanted, trunc(fund.balance / auction.reference_price, 12)), 0);
    IF taken <= 0 THEN
        RETURN 0;
    END IF;
    UPDATE public.insurance_fund SET balance = balance - round(taken * auction.reference_price, 12),
        total_payouts = total_payouts + round(taken * auction.reference_price, 12) WHERE id = fund.id;
    INSERT INTO public.auction_settlements (auction_id, fill_price, fill_size, reason, created_at)
    VALUES (auction.id, auction.reference_price, taken, 'insurance_fund', clock_timestamp());
    RETURN taken;
END $$;
COMMENT ON FUNCTION public.draw_on_insurance_fund(public.auctions, numeric) IS
    'Part of settle_auction: how much of the size (base units) the market''s insurance fund took';
