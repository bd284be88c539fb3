"""cryptofeed's PostgreSQL backend between its queue and its table: run by the Python of its own environment.

    python cryptofeed_writer.py HOST PORT USER DATABASE     obeys a JSON object a line, as bench.writer does

The backend, its queue and its writer are cryptofeed's, as its feed handler starts them. It writes whatever has gathered
in one INSERT of literals, prices as floats; nothing keeps a tick from being stored twice.
"""

import asyncio
import json
import sys
import time
import warnings
from decimal import Decimal

from cryptofeed.backends.postgres import TickerPostgres
from cryptofeed.types import Ticker

TICK = 0.002
MOST_WAITING = 2_000
MARKETS = 200
warnings.simplefilter("ignore", DeprecationWarning)


def tick(number: int) -> Ticker:
    """What an exchange's parser makes of a message: one market after the other, four rounds a second."""
    sweep, market = divmod(number, MARKETS)
    price = Decimal(10**10 + number % 99_991).scaleb(-8)
    spread = (price / 3_000).quantize(Decimal("1e-8"))
    return Ticker("PYTH", f"F{market:04}-PERP", price - spread, price + spread, time.time() + sweep // 4)


async def write(backend: TickerPostgres, made: list[Ticker], pace: int) -> float:
    """Hand the ticks over as they fall due, wait until all are committed: the seconds that it took."""
    started, put = time.perf_counter(), 0
    while put < len(made):
        due = (
            round(pace * (time.perf_counter() - started))
            if pace
            else put + MOST_WAITING - backend.queue._unfinished_tasks
        )
        for one in made[put:due]:
            await backend(one, time.time())
        put = max(put, min(due, len(made)))
        await asyncio.sleep(TICK)
    await backend.queue.join()
    return time.perf_counter() - started


async def main(host: str, port: str, user: str, database: str) -> None:
    backend = TickerPostgres(host=host, port=int(port), user=user, db=database)
    backend.start(asyncio.get_running_loop())
    made: list[Ticker] = []
    first = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if "make" in order:
            made = [tick(number) for number in range(first, first + order["make"])]
            first += len(made)
            print(json.dumps({"made": len(made)}), flush=True)
        else:
            print(json.dumps({"seconds": await write(backend, made, order["pace"])}), flush=True)
    await backend.stop()
    await backend.worker


asyncio.run(main(*sys.argv[1:]))
