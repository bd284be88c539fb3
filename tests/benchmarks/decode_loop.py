"""Decodes accounts as often as is asked, and nothing else: what the instruction guard counts.

    python tests/benchmarks/decode_loop.py unpack|full|legacy CALLS

`unpack` is the yardstick: the one call of `struct` that no decoder in Python can do without.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from quantdesk_oracle.pyth import layouts
from quantdesk_oracle.pyth.accounts import decode_price
from tests.vectors import encoder

FULL = encoder.price_update_v2()
WORKS = {
    "unpack": (lambda data: layouts.PRINT.unpack_from(data, layouts.FULL_PRINT_OFFSET), FULL),
    "full": (decode_price, FULL),
    "legacy": (decode_price, encoder.legacy_price()),
}


def main(kind: str, calls: int) -> None:
    """Do the work of that kind ``calls`` times."""
    work, account = WORKS[kind]
    for _ in range(calls):
        work(account)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
