-- Money, health, liquidation, funding: an answer for every input.

CREATE OR REPLACE FUNCTION public.update_user_balance(p_user_id uuid, p_asset text, p_amount numeric) RETURNS numeric
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result numeric;
BEGIN
    IF p_user_id IS NULL OR p_asset IS NULL OR p_amount IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'update_user_balance: user, asset and amount must be given';
    END IF;
    INSERT INTO public.user_balances (user_id, asset) VALUES (p_user_id, p_asset) ON CONFLICT (user_id, asset) DO NOTHING;
    UPDATE public.user_balances SET balance = balance + p_amount
    WHERE user_id = p_user_id AND asset = p_asset AND available_balance + p_amount >= 0
    RETURNING balance INTO result;
    IF NOT FOUND THEN
        RAISE check_violation USING MESSAGE = format('update_user_balance: %s %s would leave less than nothing of what is available',
                                                     p_amount, p_asset);
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION public.update_user_balance(uuid, text, numeric) IS
    'Adds p_amount (units of the asset, negative: debits) and returns the new balance. Atomic; check_violation where less than nothing would be available, foreign_key_violation for an unknown user, null_value_not_allowed for a NULL';

CREATE OR REPLACE FUNCTION public.unrealized_pnl(side public.position_side, size numeric, entry_price numeric, mark_price numeric)
RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT size * CASE side WHEN 'long' THEN mark_price - entry_price ELSE entry_price - mark_price END
$$;
COMMENT ON FUNCTION public.unrealized_pnl(public.position_side, numeric, numeric, numeric) IS
    'Profit and loss at the mark, quote units; NULL without a mark';

CREATE OR REPLACE FUNCTION public.health_of(margin numeric, pnl numeric, size numeric, mark_price numeric, maintenance_bps integer)
RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT round((margin + pnl) * 1000000 / nullif(size * mark_price * maintenance_bps, 0), 6)
$$;
COMMENT ON FUNCTION public.health_of(numeric, numeric, numeric, numeric, integer) IS
    'Equity / maintenance requirement × 100, per cent to 1e-6: 100 and less is liquidatable; NULL without a mark or a size';

CREATE OR REPLACE FUNCTION public.calculate_position_health(p_position_id uuid) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT public.health_of(p.margin, public.unrealized_pnl(p.side, p.size, p.entry_price, mark.mark_price),
                            p.size, mark.mark_price, m.maintenance_margin_ratio)
    FROM public.positions AS p
    JOIN public.markets AS m ON m.id = p.market_id
    JOIN public.mark_price_heads AS mark ON mark.market_id = p.market_id
        AND mark.created_at >= now() - make_interval(secs => public.schema_setting('mark_fresh_seconds'))
    WHERE p.id = p_position_id AND p.closed_at IS NULL AND NOT p.is_liquidated
$$;
COMMENT ON FUNCTION public.calculate_position_health(uuid) IS
    'Equity / maintenance requirement × 100 at the latest mark, per cent. NULL for an unknown, closed or empty position, and while there is no mark younger than mark_fresh_seconds';

CREATE OR REPLACE FUNCTION public.check_liquidation(p_position_id uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(public.calculate_position_health(p_position_id) <= 100, false)
$$;
COMMENT ON FUNCTION public.check_liquidation(uuid) IS
    'Whether the position is liquidatable: its health is known and 100 or less. A dead oracle liquidates nobody';

CREATE OR REPLACE FUNCTION public.round_half_even(value numeric, digits integer) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN abs(value - trunc(value, digits)) * 10::numeric ^ digits = 0.5
                 AND trunc(value, digits) * 10::numeric ^ digits % 2 = 0
                THEN trunc(value, digits) ELSE round(value, digits) END
$$;
COMMENT ON FUNCTION public.round_half_even(numeric, integer) IS 'Rounds as the daemon does: a tie goes to the even digit';

CREATE OR REPLACE FUNCTION public.calculate_funding_rate(p_market_id uuid, p_at timestamptz DEFAULT now()) RETURNS numeric
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    market public.markets := (SELECT m FROM public.markets AS m WHERE m.id = p_market_id);
    in_force public.funding_parameters := (SELECT f FROM public.funding_parameters AS f
                                           WHERE f.market_id = p_market_id AND f.in_force_from <= p_at
                                           ORDER BY f.version DESC LIMIT 1);
    seconds integer := coalesce((in_force.parameters ->> 'interval')::integer, market.funding_interval);
    span interval := make_interval(secs => seconds);
    starts timestamptz := date_bin(span, p_at, '2000-01-01Z');
    total numeric;
    observable bigint;
    premium numeric;
    damping numeric := coalesce((in_force.parameters ->> 'damping')::numeric, 0.0005);
    cap numeric := coalesce((in_force.parameters ->> 'cap')::numeric, 0.04);
    max_rate numeric := coalesce((in_force.parameters ->> 'max_rate')::numeric, market.max_funding_rate / 10000);
    eight_hours numeric;
BEGIN
    IF coalesce(in_force.method, 'quantdesk') <> 'quantdesk' THEN
        RETURN (SELECT r.funding_rate FROM public.funding_rates AS r
                WHERE r.market_id = p_market_id ORDER BY r.created_at DESC LIMIT 1);
    END IF;
    SELECT coalesce(sum(s.premium), 0), seconds / 5 - count(*) FILTER (WHERE s.premium IS NULL)
    INTO total, observable
    FROM public.premium_samples AS s
    WHERE s.market_id = p_market_id AND s.created_at >= starts AND s.created_at < starts + span AND s.status <> 'late';
    -- 40 decimals: enough that the only rounding is the last one.
    premium := public.round_half_even(round(total, 40) / nullif(greatest(observable, 0), 0), 12);
    IF premium IS NULL THEN
        RETURN NULL;
    END IF;
    eight_hours := premium + least(greatest(coalesce((in_force.parameters ->> 'interest')::numeric, 0.0001) - premium, -damping), damping);
    eight_hours := least(greatest(eight_hours, -cap), cap);
    RETURN public.round_half_even(least(greatest(round(eight_hours, 40) * seconds / 28800, -max_rate), max_rate), 12);
END $$;
COMMENT ON FUNCTION public.calculate_funding_rate(uuid, timestamptz) IS
    'The funding rate (a fraction per interval, positive: longs pay) that the interval of p_at would be settled with if no more samples came: method quantdesk over its stored samples, those not taken counting as 0. For another method the newest stored rate. NULL for an unknown market, and where no sample of the whole interval was observable';
