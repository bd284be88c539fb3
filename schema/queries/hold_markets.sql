-- Hold these markets' rows against settlement until the transaction ends: what is sampled meanwhile is not missed by it.
-- $1 market ids
SELECT id FROM public.markets WHERE id = ANY ($1::uuid[]) ORDER BY id FOR SHARE
