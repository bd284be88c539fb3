-- Recompute the days of market_stats and user_stats that rows have touched; how many days were.
SELECT public.refresh_statistics()
