-- How a value of an earlier generation becomes one of this. What is not named here is copied as it is (a NULL where
-- none may be becomes the column's default), and a column that the old table has not got gets its default.
CREATE TEMPORARY TABLE migration_values (
    table_name   text NOT NULL,
    column_name  text NOT NULL,
    expression   text NOT NULL,     -- over the old row `o`
    if_missing   boolean NOT NULL,  -- true: only where the old table has no such column
    noted        text,              -- reason to note in migration_changes where the value changes; NULL: not noted
    PRIMARY KEY (table_name, column_name, if_missing)
) ON COMMIT DROP;
INSERT INTO migration_values (table_name, column_name, expression, if_missing, noted) VALUES
    ('users', 'kyc_status', $$pg_temp.label(o.kyc_status::text, 'kyc_status')$$, false, 'not a kyc_status: the default instead'),
    ('users', 'risk_level', $$pg_temp.label(o.risk_level::text, 'risk_level')$$, false, 'not a risk_level: the default instead'),
    ('users', 'email', $$CASE WHEN row_number() OVER (PARTITION BY o.email ORDER BY o.created_at, o.id) = 1 THEN o.email END$$, false,
        'another user has this e-mail address'),
    ('markets', 'symbol', $$pg_temp.perpetual(o.symbol)$$, false, 'markets are named BASE-PERP'),
    ('markets', 'is_active', $$coalesce(o.is_active, true) AND pg_temp.is_address(o.oracle_account)$$, false,
        'its oracle account is none: not active until it has one'),
    ('auctions', 'symbol', $$pg_temp.perpetual(o.symbol)$$, false, 'markets are named BASE-PERP'),
    ('oracle_prices', 'exponent', $$CASE WHEN o.exponent BETWEEN -18 AND 18 THEN o.exponent END$$, false, NULL),
    ('oracle_prices', 'slot', $$CASE WHEN o.slot IS NULL OR row_number() OVER (PARTITION BY o.market_id, o.created_at, o.slot ORDER BY o.ctid) > 1
        THEN nextval('public.oracle_prices_external_slot') ELSE o.slot END$$, false, NULL),
    ('funding_rates', 'status', $$'imported'$$, true, NULL),
    ('funding_rates', 'funding_type', $$pg_temp.label(o.funding_type::text, 'funding_type')$$, false, NULL),
    ('system_events', 'severity', $$pg_temp.label(o.severity::text, 'event_severity')$$, false, 'not a severity: the default instead'),
    ('admin_users', 'role', $$pg_temp.label(o.role::text, 'admin_role')$$, false, 'not a role: the default instead');

-- A label of an enumeration, whatever its case; NULL (and so the default) for what is none.
CREATE OR REPLACE FUNCTION pg_temp.label(old_value text, type_name text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT e.enumlabel::text FROM pg_enum AS e
    WHERE e.enumtypid = to_regtype('public.' || type_name) AND e.enumlabel = lower(trim(old_value))
$$;

CREATE OR REPLACE FUNCTION pg_temp.is_address(account text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(account ~ '^[1-9A-HJ-NP-Za-km-z]{32,44}$', false)
$$;

-- BTC/USDT is BTC-PERP here, unless the database has a BTC-PERP beside it.
CREATE OR REPLACE FUNCTION pg_temp.perpetual(symbol text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    renamed text := split_part(symbol, '/', 1) || '-PERP';
    taken boolean;
BEGIN
    IF symbol !~ '^[A-Z0-9]+/USD[TC]?$' THEN
        RETURN symbol;
    END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM migration_old.markets AS m WHERE m.symbol = $1
             OR (m.symbol <> $2 AND split_part(m.symbol, ''/'', 1) || ''-PERP'' = $1 AND m.symbol LIKE ''%/%'' AND m.symbol < $2))'
        INTO taken USING renamed, symbol;
    RETURN CASE WHEN taken THEN symbol ELSE renamed END;
END $$;
