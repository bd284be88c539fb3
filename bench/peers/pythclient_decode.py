"""Decodes one legacy account with pythclient, over and over: run by the Python of pythclient's own environment.

    python pythclient_decode.py price|product|mapping < account in base64, then a number of calls a line

Answers each line with the µs of CPU that one call took.
"""

import base64
import sys
import time

from pythclient.pythaccounts import PythMappingAccount, PythPriceAccount, PythProductAccount
from pythclient.solana import SolanaPublicKey

KINDS = {"price": PythPriceAccount, "product": PythProductAccount, "mapping": PythMappingAccount}
KEY = SolanaPublicKey("H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG")
HEADER = 16


def main() -> None:
    account = KINDS[sys.argv[1]](KEY, None)
    data = base64.b64decode(sys.stdin.readline())
    for line in sys.stdin:
        calls = int(line)
        started = time.thread_time_ns()
        for _ in range(calls):
            account.update_from(data, version=2, offset=HEADER)
        print((time.thread_time_ns() - started) / calls / 1_000, flush=True)


main()
