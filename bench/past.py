"""A local node with a history behind it, in a process of its own.

python -m bench.past MINUTES     says {"rpc", "ws", "since"}, then serves until its input ends
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from tests.clock import VirtualClock


async def main(minutes: int) -> None:
    """Let the minutes pass at once, and stand still then."""
    since = int(time.time()) - 60 * minutes
    clock = VirtualClock(since * 1_000_000)
    node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, seed=5), clock)
    await node.start()
    await clock.advance_to(time.time_ns() // 1_000)
    print(json.dumps({"rpc": node.rpc_url, "ws": node.ws_url, "since": since}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await node.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
