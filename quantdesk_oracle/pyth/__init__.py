"""Bytes to values: Pyth's accounts of every generation and its price messages. No I/O, no clock."""
