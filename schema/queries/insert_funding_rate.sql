-- One settled interval. A row that is there already, a person's or another daemon's, stands.
INSERT INTO public.funding_rates
    (market_id, created_at, funding_rate, premium_index, oracle_price, oracle_publish_time, oracle_slot, mark_price,
     premium_sum, samples_expected, samples_used, samples_unusable, coverage, funding_interval, method,
     parameter_version, status, reason, input_hash, long_size, short_size, total_funding)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22
WHERE $2 <= clock_timestamp()
ON CONFLICT (market_id, created_at) DO NOTHING
RETURNING created_at
