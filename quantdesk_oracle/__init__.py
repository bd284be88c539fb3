"""Pyth prices from Solana into PostgreSQL: oracle prices, mark prices and funding rates."""

__version__ = "0.1.0"
