-- Who may do what. First everything is taken away (Supabase gives ALL on every new table to anon and authenticated),
-- then each role gets what it needs.
--
--   anon            reads public market data
--   authenticated   the same, and its own rows: those of the user whose wallet_address the token names. Writes nothing
--   service_role    reads and writes (QuantDesk's backend); cannot truncate, nor change the audit log
--   quantdesk_oracle  the daemon: reads markets, orders, trades, positions; writes what it produces
--   quantdesk_views   owns order_book and market_summary, and may read what they add up

CREATE OR REPLACE FUNCTION public.current_user_id() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT id FROM public.users WHERE wallet_address = auth.jwt() ->> 'wallet_address'
$$;
COMMENT ON FUNCTION public.current_user_id() IS 'The user whose wallet the request''s token names; NULL: none';

CREATE OR REPLACE PROCEDURE pg_temp.protect(private_tables text[], public_tables text[], views text[])
LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY private_tables || public_tables || views LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle', name);
    END LOOP;
    FOREACH name IN ARRAY private_tables || public_tables LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM quantdesk_views', name);
    END LOOP;
    FOREACH name IN ARRAY private_tables LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('DROP POLICY IF EXISTS service_role_all ON public.%I', name);
        EXECUTE format('CREATE POLICY service_role_all ON public.%I TO service_role USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;
CALL pg_temp.protect(
    ARRAY['users', 'user_balances', 'positions', 'orders', 'trades', 'liquidations', 'insurance_fund', 'user_stats',
          'auctions', 'auction_quotes', 'auction_settlements', 'system_events', 'risk_alerts', 'admin_users',
          'admin_audit_logs', 'statistics_due', 'migration_rejects', 'migration_changes'],
    ARRAY['markets', 'funding_parameters', 'oracle_prices', 'oracle_price_heads', 'mark_prices', 'mark_price_heads',
          'premium_samples', 'funding_rates', 'candle_rollups', 'candle_progress', 'market_stats', 'schema_version', 'schema_settings',
          'time_series'],
    ARRAY['active_positions', 'pending_orders', 'user_portfolio', 'risk_dashboard', 'order_book', 'market_summary',
          'latest_oracle_prices', 'latest_mark_prices', 'candles', 'unfolded_candles']
);
DROP PROCEDURE pg_temp.protect(text[], text[], text[]);
REVOKE ALL ON SEQUENCE public.oracle_prices_external_slot FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle;

-- Sequences of identity columns are used with the rights on their table; whoever may set one back may stop its inserts.
DO $$
DECLARE
    sequence regclass;
BEGIN
    FOR sequence IN
        SELECT s.oid FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
          AND d.refobjid = ANY (ARRAY['public.statistics_due', 'public.migration_rejects', 'public.migration_changes',
                                      'public.oracle_gaps']::regclass[])
    LOOP
        EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle', sequence);
    END LOOP;
END $$;

CREATE OR REPLACE PROCEDURE pg_temp.create_policy(table_name text, policy_name text, role_name text, command text, condition text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP POLICY IF EXISTS %I ON public.%I', policy_name, table_name);
    EXECUTE format('CREATE POLICY %I ON public.%I FOR %s TO %I %s (%s)', policy_name, table_name, command, role_name,
                   CASE command WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END, condition);
END $$;

-- A user's own rows. The sub-select is computed once a query, not once a row.
CALL pg_temp.create_policy('users', 'users_read_own', 'authenticated', 'SELECT', 'id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('user_balances', 'user_balances_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('positions', 'positions_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('orders', 'orders_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('trades', 'trades_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('liquidations', 'liquidations_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('user_stats', 'user_stats_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');
CALL pg_temp.create_policy('risk_alerts', 'risk_alerts_read_own', 'authenticated', 'SELECT', 'user_id = (SELECT public.current_user_id())');

CALL pg_temp.create_policy('positions', 'positions_oracle_read', 'quantdesk_oracle', 'SELECT', 'true');
CALL pg_temp.create_policy('orders', 'orders_oracle_read', 'quantdesk_oracle', 'SELECT', 'true');
CALL pg_temp.create_policy('trades', 'trades_oracle_read', 'quantdesk_oracle', 'SELECT', 'true');
CALL pg_temp.create_policy('system_events', 'system_events_oracle_read', 'quantdesk_oracle', 'SELECT', 'true');
CALL pg_temp.create_policy('system_events', 'system_events_oracle_write', 'quantdesk_oracle', 'INSERT', 'true');
CALL pg_temp.create_policy('positions', 'positions_views_read', 'quantdesk_views', 'SELECT', 'true');
CALL pg_temp.create_policy('orders', 'orders_views_read', 'quantdesk_views', 'SELECT', 'true');
CALL pg_temp.create_policy('trades', 'trades_views_read', 'quantdesk_views', 'SELECT', 'true');
DROP PROCEDURE pg_temp.create_policy(text, text, text, text, text);

GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role, quantdesk_oracle, quantdesk_views;

GRANT SELECT ON public.markets, public.oracle_prices, public.oracle_price_heads, public.mark_prices, public.mark_price_heads,
    public.funding_rates, public.market_stats, public.candle_rollups, public.unfolded_candles, public.candles,
    public.latest_oracle_prices, public.latest_mark_prices, public.order_book, public.market_summary
    TO anon, authenticated, service_role, quantdesk_oracle;
GRANT SELECT ON public.users, public.user_balances, public.positions, public.orders, public.trades, public.liquidations,
    public.user_stats, public.risk_alerts, public.active_positions, public.pending_orders, public.user_portfolio
    TO authenticated;

GRANT SELECT, INSERT, UPDATE, DELETE ON public.users, public.user_balances, public.markets, public.funding_parameters,
    public.positions, public.orders, public.trades, public.liquidations, public.insurance_fund, public.user_stats,
    public.market_stats, public.auctions, public.auction_quotes, public.auction_settlements, public.oracle_prices,
    public.mark_prices, public.premium_samples, public.funding_rates, public.system_events, public.risk_alerts,
    public.admin_users TO service_role;
GRANT SELECT, INSERT ON public.admin_audit_logs TO service_role;
GRANT SELECT ON public.active_positions, public.pending_orders, public.user_portfolio, public.risk_dashboard,
    public.schema_version, public.schema_settings, public.time_series, public.migration_rejects, public.migration_changes
    TO service_role;
GRANT USAGE ON SEQUENCE public.oracle_prices_external_slot TO service_role, quantdesk_oracle;

GRANT SELECT ON public.positions, public.orders, public.trades, public.schema_version, public.schema_settings,
    public.time_series, public.premium_samples, public.funding_parameters, public.system_events TO quantdesk_oracle;
GRANT INSERT ON public.markets, public.funding_parameters, public.oracle_prices, public.mark_prices, public.premium_samples,
    public.funding_rates, public.system_events TO quantdesk_oracle;
GRANT UPDATE (current_funding_rate, last_funding_time, updated_at, halted_at, halted_reason) ON public.markets TO quantdesk_oracle;
GRANT INSERT, UPDATE ON public.oracle_price_heads, public.mark_price_heads TO quantdesk_oracle;

GRANT SELECT ON public.markets, public.orders, public.positions, public.trades, public.oracle_price_heads,
    public.mark_price_heads TO quantdesk_views;

-- Functions: nothing for PUBLIC; what a view or a policy calls goes to whoever may use the view.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace AND regexp_replace(p.proname, '_row$', '') IN (
            'schema_mode', 'schema_setting', 'set_updated_at', 'found_insurance_fund', 'keep_oracle_price_heads',
            'keep_mark_price_heads', 'candle_widths', 'keep_candles', 'remake_candles', 'fold_candles',
            'candles_folded_until', 'update_user_balance', 'unrealized_pnl', 'health_of', 'calculate_position_health', 'check_liquidation', 'round_half_even',
            'calculate_funding_rate', 'settle_auction', 'eligible_quotes', 'draw_on_insurance_fund', 'note_changed_days',
            'oracle_day', 'refresh_market_day', 'refresh_user_day', 'refresh_statistics', 'audit_change',
            'without_secrets', 'series_partitions', 'add_partition', 'guard_partition', 'attach_edge',
            'found_partitions', 'split_future', 'drop_expired', 'drop_expired_chunks', 'upkeep_series', 'upkeep_at',
            'upkeep', 'upkeep_due', 'current_user_id')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle, quantdesk_views',
                       function);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION public.schema_setting(text), public.candles_folded_until()
    TO anon, authenticated, service_role, quantdesk_oracle, quantdesk_views;
GRANT EXECUTE ON FUNCTION public.unrealized_pnl(public.position_side, numeric, numeric, numeric),
    public.health_of(numeric, numeric, numeric, numeric, integer), public.calculate_position_health(uuid),
    public.check_liquidation(uuid), public.calculate_funding_rate(uuid, timestamptz), public.current_user_id()
    TO authenticated, service_role, quantdesk_oracle;
GRANT EXECUTE ON FUNCTION public.update_user_balance(uuid, text, numeric), public.settle_auction(uuid),
    public.eligible_quotes(uuid), public.draw_on_insurance_fund(public.auctions, numeric) TO service_role;
GRANT EXECUTE ON FUNCTION public.schema_mode(), public.upkeep(), public.upkeep_due(), public.refresh_statistics()
    TO service_role, quantdesk_oracle;

-- The two views that see everybody's rows belong to the role that may read just those.
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'quantdesk_views', 'USAGE') THEN
        EXECUTE format('GRANT quantdesk_views TO %I', current_user);
    END IF;
    IF EXISTS (SELECT FROM pg_views WHERE schemaname = 'public' AND viewname IN ('order_book', 'market_summary')
                                      AND viewowner <> 'quantdesk_views') THEN
        GRANT CREATE ON SCHEMA public TO quantdesk_views;
        ALTER VIEW public.order_book OWNER TO quantdesk_views;
        ALTER VIEW public.market_summary OWNER TO quantdesk_views;
        REVOKE CREATE ON SCHEMA public FROM quantdesk_views;
    END IF;
END $$;

-- Continuous aggregates (Timescale licence) are read through candles, with the rights of who asks.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['candles_1m', 'candles_1h', 'candles_1d'] LOOP
        CONTINUE WHEN to_regclass('public.' || name) IS NULL;
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role, quantdesk_oracle', name);
        EXECUTE format('GRANT SELECT ON public.%I TO anon, authenticated, service_role, quantdesk_oracle', name);
    END LOOP;
END $$;
