-- The words that columns may hold.
CALL pg_temp.create_enum('kyc_status', ARRAY['pending', 'verified', 'rejected', 'suspended']);
CALL pg_temp.create_enum('risk_level', ARRAY['low', 'medium', 'high', 'critical']);
CALL pg_temp.create_enum('position_side', ARRAY['long', 'short']);
CALL pg_temp.create_enum('trade_side', ARRAY['buy', 'sell']);
CALL pg_temp.create_enum('order_type', ARRAY['market', 'limit', 'stop_loss', 'take_profit', 'trailing_stop',
                                             'post_only', 'ioc', 'fok']);
CALL pg_temp.create_enum('order_status', ARRAY['pending', 'filled', 'cancelled', 'expired', 'partially_filled',
                                               'rejected']);
CALL pg_temp.create_enum('funding_type', ARRAY['automatic', 'manual', 'emergency']);
CALL pg_temp.create_enum('liquidation_type', ARRAY['market', 'backstop', 'insurance_fund']);
CALL pg_temp.create_enum('settlement_type', ARRAY['auction', 'insurance_fund', 'socialized_loss']);
CALL pg_temp.create_enum('event_severity', ARRAY['info', 'warning', 'error', 'critical']);
CALL pg_temp.create_enum('admin_role', ARRAY['admin', 'super_admin', 'risk_manager']);
CALL pg_temp.create_enum('oracle_source', ARRAY['subscription', 'poll', 'chain', 'hermes', 'benchmarks', 'file',
                                                'external']);
CALL pg_temp.create_enum('oracle_verdict', ARRAY['accepted', 'wide', 'quarantined']);

COMMENT ON TYPE public.kyc_status IS 'How far a user''s identity has been checked';
COMMENT ON TYPE public.risk_level IS 'How close to trouble: low, medium, high, critical';
COMMENT ON TYPE public.position_side IS 'long gains when the price rises, short when it falls';
COMMENT ON TYPE public.trade_side IS 'What the taker did';
COMMENT ON TYPE public.order_type IS 'How an order is to be executed';
COMMENT ON TYPE public.order_status IS 'Where an order stands';
COMMENT ON TYPE public.funding_type IS 'Who set a funding rate: the daemon (automatic) or a person (manual, emergency)';
COMMENT ON TYPE public.liquidation_type IS 'Who took a liquidated position over';
COMMENT ON TYPE public.settlement_type IS 'What an auction''s size was settled by';
COMMENT ON TYPE public.event_severity IS 'How urgently a person should look';
COMMENT ON TYPE public.admin_role IS 'What a member of staff may do';
COMMENT ON TYPE public.oracle_source IS 'By which way a print reached the database; external: another team''s writer';
COMMENT ON TYPE public.oracle_verdict IS 'What acceptance decided about a stored print';
