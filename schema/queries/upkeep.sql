-- Partitions made ahead, rows beyond retention dropped.
SELECT table_name, action, objects FROM public.upkeep()
