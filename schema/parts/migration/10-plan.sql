-- Which tables there may be, in the order in which their rows can be copied, and whether there is anything to do.
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('quantdesk schema', 0)); END $$;

CREATE TEMPORARY TABLE migration_plan (
    position    integer GENERATED ALWAYS AS IDENTITY,
    old_name    text PRIMARY KEY,
    table_name  text NOT NULL,
    -- Of several rows with one key the first in this order stays.
    preference  text NOT NULL
) ON COMMIT DROP;
INSERT INTO migration_plan (old_name, table_name, preference) VALUES
    ('users', 'users', 'created_at'),
    ('markets', 'markets', 'created_at'),
    ('funding_parameters', 'funding_parameters', 'version'),
    ('user_balances', 'user_balances', 'balance DESC, created_at'),
    ('positions', 'positions', 'created_at DESC'),
    ('orders', 'orders', 'created_at DESC'),
    ('trades', 'trades', 'created_at'),
    ('liquidations', 'liquidations', 'created_at'),
    ('insurance_fund', 'insurance_fund', 'balance DESC, total_contributions DESC, created_at'),
    ('market_stats', 'market_stats', 'created_at DESC'),
    ('user_stats', 'user_stats', 'created_at DESC'),
    ('auctions', 'auctions', 'created_at'),
    ('auction_quotes', 'auction_quotes', 'created_at'),
    ('auction_settlements', 'auction_settlements', 'created_at'),
    ('oracle_prices', 'oracle_prices', 'created_at'),
    ('price_feeds', 'oracle_prices', 'created_at'),
    ('mark_prices', 'mark_prices', 'created_at'),
    ('premium_samples', 'premium_samples', 'created_at'),
    ('funding_rates', 'funding_rates', 'created_at'),
    ('system_events', 'system_events', 'created_at'),
    ('risk_alerts', 'risk_alerts', 'created_at'),
    ('admin_users', 'admin_users', 'created_at'),
    ('admin_audit_logs', 'admin_audit_logs', 'created_at');

-- What was done, a row a table: for whoever runs this inside a transaction of theirs.
CREATE TEMPORARY TABLE migration_report (
    table_name  text   NOT NULL,
    before      bigint NOT NULL,
    copied      bigint NOT NULL,
    rejected    bigint NOT NULL
) ON COMMIT DROP;

-- Names that earlier generations gave to what is no table. They are dropped or step aside; others' are left alone.
CREATE TEMPORARY TABLE migration_names (kind text NOT NULL, name text NOT NULL) ON COMMIT DROP;
INSERT INTO migration_names (kind, name)
SELECT 'table', old_name FROM migration_plan
UNION ALL SELECT 'table', unnest(ARRAY['oracle_price_heads', 'mark_price_heads', 'candle_rollups', 'candle_progress', 'statistics_due',
                                       'schema_version', 'schema_settings', 'time_series'])
UNION ALL SELECT 'view', unnest(ARRAY['active_positions', 'pending_orders', 'market_summary', 'user_portfolio',
                                      'risk_dashboard', 'order_book', 'latest_oracle_prices', 'latest_mark_prices', 'candles',
                                      'unfolded_candles'])
UNION ALL SELECT 'type', unnest(ARRAY['kyc_status', 'risk_level', 'position_side', 'trade_side', 'order_type', 'order_status',
                                      'funding_type', 'liquidation_type', 'settlement_type', 'auction_side', 'event_severity',
                                      'admin_role', 'oracle_source', 'oracle_verdict'])
UNION ALL SELECT 'function', unnest(ARRAY['update_user_balance', 'calculate_position_health', 'calculate_funding_rate',
    'check_liquidation', 'update_updated_at_column', 'set_updated_at', 'schema_mode', 'schema_setting', 'found_insurance_fund',
    'keep_oracle_price_heads', 'keep_mark_price_heads', 'candle_widths', 'keep_candles', 'remake_candles', 'fold_candles',
    'candles_folded_until', 'unrealized_pnl',
    'health_of', 'round_half_even', 'settle_auction', 'eligible_quotes', 'draw_on_insurance_fund', 'note_changed_days',
    'oracle_day', 'refresh_market_day', 'refresh_user_day', 'refresh_statistics', 'audit_change', 'without_secrets',
    'series_partitions', 'add_partition', 'guard_partition', 'attach_edge', 'found_partitions', 'split_future',
    'drop_expired', 'drop_expired_chunks', 'upkeep_series', 'upkeep_at', 'upkeep', 'upkeep_due', 'current_user_id']);

-- From here on the schema migration_old says that there is something to do.
DO $$
DECLARE
    found integer;
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL % is too old: this schema needs 15 or newer', current_setting('server_version');
    ELSIF to_regnamespace('migration_old') IS NOT NULL THEN
        RAISE EXCEPTION 'there is a schema migration_old already, and this migration did not make it'
            USING HINT = 'Look at what is in it, rename or drop it, and run the migration again';
    END IF;
    IF to_regclass('public.schema_version') IS NOT NULL THEN
        EXECUTE 'SELECT max(version) FROM public.schema_version' INTO found;
        IF found > 3 THEN
            RAISE EXCEPTION 'this database holds version % of the schema, and these files are version 3', found
                USING HINT = 'Install a newer quantdesk-oracle';
        END IF;
        RETURN; -- an earlier version of this schema is brought up in its place, by the parts themselves
    ELSIF to_regclass('public.users') IS NULL AND to_regclass('public.markets') IS NULL THEN
        RETURN;
    END IF;
    CREATE SCHEMA migration_old;
END $$;
