"""Our writer of prints in a process of its own, between its queue and the table as in the daemon.

python -m bench.writer DSN     obeys a JSON object a line:
    {"make": 1000}     make so many prints that nobody has seen
    {"pace": 2000}     write them at so many a second (0: as fast as it goes), and say in how many seconds
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from functools import partial

import asyncpg

from bench.insert import MARKETS, stream
from bench.servers import add_markets
from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.model import StoredPrint
from quantdesk_oracle.ops import logging
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.series import insert_oracle_prices
from quantdesk_oracle.store.writer import BatchWriter

TICK = 0.002
MOST_WAITING = 2_000
BATCH_ROWS = 500
"""The default of the configuration."""


async def main(dsn: str) -> None:
    """Obey until the input ends."""
    logging.setup(json=True, level="warning", stream=sys.stderr, secrets=())
    connection = await asyncpg.connect(dsn)
    ids = await add_markets(connection, MARKETS)
    await connection.close()
    database = Database(dsn, pool_size=1, command_timeout=60)
    await database.open()
    writer: BatchWriter[StoredPrint] = BatchWriter(
        "oracle_prices",
        partial(insert_oracle_prices, database, ids),
        SystemClock(),
        Metrics([], list(ids), [], "bench"),
        batch_rows=BATCH_ROWS,
        capacity=1_000_000,
        on_refused=lambda row, error: sys.exit(f"{row} was refused: {error}"),
        on_trouble=lambda error: None,
    )
    running = asyncio.create_task(writer.run())
    gc.freeze()  # as the daemon does when it starts
    prints, made = stream(), list[StoredPrint]()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if "make" in order:
            made = list(itertools.islice(prints, order["make"]))
            print(json.dumps({"made": len(made)}), flush=True)
        else:
            print(json.dumps({"seconds": await write(writer, made, order["pace"])}), flush=True)
    writer.close()
    await running
    await database.close()


async def write(writer: BatchWriter[StoredPrint], made: list[StoredPrint], pace: int) -> float:
    """Put the prints as they fall due, wait until all are committed: the seconds that it took."""
    started, put = time.perf_counter(), 0
    while put < len(made):
        due = round(pace * (time.perf_counter() - started)) if pace else put + MOST_WAITING - writer.waiting
        for one in made[put:due]:
            writer.put(one)
        put = max(put, min(due, len(made)))
        await asyncio.sleep(TICK)
    await writer.flushed()
    return time.perf_counter() - started


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
