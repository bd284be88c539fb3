"""One way from the socket to a queued row, in a process of its own.

    python -m bench.receiver ours|plain FEEDS WEBSOCKET_URL UPDATES

Says {"subscribed": …} when it listens, and when it has queued so many updates what they cost it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bench.feeds import feeds

_WARM_UP = 2_000
"""Updates that are not counted: the first ones pay for what is imported and made once."""


class Meter:
    """Counts queued updates, and takes the time from the end of the warm-up to the last one."""

    def __init__(self, updates: int) -> None:
        self._wanted = updates + _WARM_UP
        self._count = 0
        self.done = asyncio.Event()

    def count(self) -> None:
        """One more row is queued."""
        self._count += 1
        if self._count == _WARM_UP:
            self._started = time.perf_counter(), time.process_time()
        elif self._count == self._wanted:
            self.seconds = time.perf_counter() - self._started[0]
            self.cpu = time.process_time() - self._started[1]
            self.done.set()


def ours(url: str, count: int, meter: Meter) -> Coroutine[Any, Any, None]:
    """The daemon's own subscription and ingest, up to the price writer's queue."""
    from bench.offline import assembled

    parts = assembled(url, count)
    gc.freeze()  # as the daemon does when it starts
    put = parts.prices.put

    def counting(row: Any) -> None:
        put(row)
        meter.count()

    parts.prices.put = counting  # type: ignore[method-assign]
    return parts.subscription.run()


def plain(url: str, count: int, meter: Meter) -> Coroutine[Any, Any, None]:
    """solana-py's loop with anchorpy's decoder, rows in a list."""
    from bench.peers.plain_loop import follow

    rows: list[tuple[object, ...]] = []

    def on_price(address: str, account: Any) -> None:
        message = account.price_message
        rows.append(
            (
                address,
                message.price,
                message.conf,
                message.exponent,
                message.publish_time,
                account.posted_slot,
            )
        )
        meter.count()

    return follow(url, [feed.address for feed in feeds(count)], on_price)


WAYS: dict[str, Callable[[str, int, Meter], Coroutine[Any, Any, None]]] = {"ours": ours, "plain": plain}


async def _main(way: str, count: int, url: str, updates: int) -> None:
    meter = Meter(updates)
    task = asyncio.ensure_future(WAYS[way](url, count, meter))
    # The feeder holds what it pushes until a client reads: subscribing needs no more than a moment's head start.
    await asyncio.sleep(1.0 + count / 500)
    print(json.dumps({"subscribed": count}), flush=True)
    await asyncio.wait({task, asyncio.ensure_future(meter.done.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    print(json.dumps({"updates": updates, "seconds": meter.seconds, "cpu": meter.cpu}), flush=True)
    # No farewell: closing politely waits ten seconds for whatever the feeder still pushes.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
