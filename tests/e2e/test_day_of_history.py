"""A day of chain history at the pace of sponsored feeds, read by a command that is killed at any point and resumed.

By hand the whole day and twenty kills: QUANTDESK_TEST_HISTORY_HOURS=24 QUANTDESK_TEST_HISTORY_KILLS=20.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from quantdesk_oracle.localnet.faults import Drill, parse_schedule
from tests.clock import VirtualClock
from tests.e2e import truth, world
from tests.e2e.conftest import Program
from tests.postgres import TEMPLATE, PostgresServer, execute

HOURS = float(os.environ.get("QUANTDESK_TEST_HISTORY_HOURS", "3"))
KILLS = int(os.environ.get("QUANTDESK_TEST_HISTORY_KILLS", "3"))
DAY = round(HOURS * 3_600)
KEPT = DAY * 0.9
"""Seconds of history that the node still has in the end."""
UNDER_WAY = 25
"""Requests of one feed that may be repeated after a kill: a piece of twenty that was not committed, and its list."""

pytestmark = pytest.mark.timeout(900)


class Counting(Drill):
    """A drill that remembers what it was asked for."""

    asked: Counter[tuple[str, str]]

    def call(self, request: Any, handler: Any) -> Any:
        self.asked[(request.method, request.keys()[0] if request.keys() else "")] += 1
        return super().call(request, handler)


async def test_a_day_of_history_through_kills_is_the_ledger_and_nothing_finished_is_asked_for_again(
    program: Program, postgres_18: PostgresServer, tmp_path: Path
) -> None:
    third = DAY / 3
    drill = Counting(
        parse_schedule(
            {
                "seed": 3,
                "faults": [
                    {"kind": "failed_pushes", "probability": 0.1, "at": 0, "for": DAY},
                    {"kind": "stale_pushes", "probability": 0.1, "at": 0, "for": DAY},
                    {"kind": "address_tables", "at": third, "for": third},
                    {"kind": "shared_transactions", "probability": 0.3, "at": 2 * third, "for": third},
                    {"kind": "prune", "keep": KEPT, "at": DAY - 1, "for": 1e6},
                ],
            }
        )
    )
    drill.asked = Counter()
    clock = VirtualClock((int(time.time()) - DAY) * 1_000_000)
    ledger = tmp_path / "ledger.jsonl"
    node = LocalNode(
        LocalnetSettings(rpc_port=0, ws_port=0, ledger=ledger, seed=3, push_every=60, slot_ms=2_000),
        clock,
        drill,
    )
    await node.start()
    dsn = postgres_18.dsn("day_of_history")
    await execute(postgres_18.dsn(), f"CREATE DATABASE day_of_history TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    try:
        await clock.advance(DAY)
        oldest = drill.node.window().oldest
        kills, summary = await _read(program, node, drill, dsn, tmp_path)
        connection = await asyncpg.connect(dsn)
        try:
            stored = sorted(await truth.stored_prints(connection))
        finally:
            await connection.close()
    finally:
        await node.stop()
        await execute(postgres_18.dsn(), "DROP DATABASE day_of_history WITH (FORCE)")
    lines = truth.ledger_rows(ledger)
    assert stored == sorted(truth.expected_print(line) for line in lines if line["slot"] >= oldest)
    assert 0.85 * len(lines) < len(stored) < len(lines)
    fetched = Counter(
        {signature: count for (method, signature), count in drill.asked.items() if method == "getTransaction"}
    )
    # One that pushes two feeds is read for each of them.
    again = sum(count - len(_legs(drill, signature)) for signature, count in fetched.items())
    assert again <= KILLS * UNDER_WAY
    print(
        f"\n{len(stored)} prints of {len(lines)}, {fetched.total()} transactions asked for, {again} of them again"
        f" after {kills} kills; at most {max(fetched.values())} times; {summary['requests']} requests in the last run"
    )


def _legs(drill: Drill, signature: str) -> tuple[Any, ...]:
    push = drill.node.history.find(signature)
    assert push is not None
    return push.legs


async def _read(
    program: Program, node: LocalNode, drill: Counting, dsn: str, folder: Path
) -> tuple[int, dict[str, Any]]:
    """Backfill, killed at random points, to the end; how many kills there were, and the last summary."""
    variables = {
        "QUANTDESK_CONFIG": str(world.configuration(folder)),
        "SOLANA_NETWORK": "localnet",
        "RPC_URL": node.rpc_url,
        "WS_URL": node.ws_url,
        "DATABASE_URL": dsn,
    }
    arguments = ("backfill", "--all", "--from", f"{round(HOURS * 60) + 60}m", "--json", "--rate", "1000")
    chance = random.Random(4)
    prints = 3 * DAY // 60
    kills = 0
    for point in sorted(chance.sample(range(prints // 20, prints), KILLS)):
        process = program(*arguments, "--state-dir", folder / "state", **variables)
        async with asyncio.timeout(120):
            while drill.asked.total() < point and process.poll() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        kills += process.poll() is None
        process.kill()
        await asyncio.to_thread(process.wait)
    last = program(*arguments, "--state-dir", folder / "state", **variables)
    out, _ = await asyncio.to_thread(last.communicate, timeout=600)
    assert last.returncode == 0
    summary: dict[str, Any] = json.loads(out)
    assert summary["rejected"] == {}
    return kills, summary
