-- The markets that are traded, with the current sponsored Pyth accounts (the addresses of mainnet and devnet alike).
-- Nothing whose account is unknown is seeded.
INSERT INTO public.markets (symbol, base_asset, quote_asset, oracle_account, max_leverage, initial_margin_ratio,
                            maintenance_margin_ratio, tick_size, step_size, min_order_size) VALUES
    ('BTC-PERP', 'BTC', 'USDC', 'APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5', 5000, 200, 100, 0.1,   0.0001, 0.0001),
    ('ETH-PERP', 'ETH', 'USDC', '7odryi4WfoMFHtv2eubdMgP1pqQMmdiXSK1N2tqZ2nRH', 5000, 200, 100, 0.01,  0.001,  0.001),
    ('SOL-PERP', 'SOL', 'USDC', '7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE', 2000, 500, 250, 0.001, 0.01,   0.01)
ON CONFLICT (symbol) DO NOTHING;
