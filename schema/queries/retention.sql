-- How long rows of oracle_prices are kept; NULL: for ever.
SELECT retention FROM public.time_series WHERE table_name = 'oracle_prices'
