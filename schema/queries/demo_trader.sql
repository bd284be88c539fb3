-- A user of the demonstration, made where there is none.
-- $1 wallet address
INSERT INTO public.users (wallet_address, username) VALUES ($1, $1)
ON CONFLICT (wallet_address) DO UPDATE SET last_login = now()
RETURNING id
