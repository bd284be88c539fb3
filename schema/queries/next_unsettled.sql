-- From where settlement goes on: the newest settled boundary, and the oldest sample after it (or at all).
-- $1 market id
WITH newest AS (
    SELECT max(created_at) AS boundary FROM public.funding_rates
    WHERE market_id = $1 AND created_at <= clock_timestamp()
)
SELECT newest.boundary,
       (SELECT min(created_at) FROM public.premium_samples
        WHERE market_id = $1 AND created_at >= coalesce(newest.boundary, '-infinity')) AS first_sample
FROM newest
