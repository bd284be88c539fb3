"""Where observations come from: subscription and polling, with one RPC client and one connection of our own.

solana-py and solders build the requests and carry them; what comes back is read here, with msgspec, because
an answer that solders cannot parse ends in a panic that no ``except Exception`` sees.
"""
