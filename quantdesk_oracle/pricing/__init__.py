"""Values and a ``now`` to values: acceptance, use, mark, premium, funding. Pure; decimals and integers only."""
