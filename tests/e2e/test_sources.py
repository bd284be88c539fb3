"""Daemons that are killed while the chain goes on, and a command that reads it back: the table is the ledger."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from subprocess import Popen
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.store import schema
from quantdesk_oracle.store.embedded import EmbeddedServer
from tests.e2e import truth, world
from tests.e2e.conftest import Program, stored_until


class Chain:
    """A local node in a process of its own, which goes on whoever dies."""

    def __init__(self, process: Popen[str], ledger: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.ledger = ledger
        ready = json.loads(process.stdout.readline())
        self.variables = {
            "RPC_URL": ready["rpc_url"],
            "WS_URL": ready["ws_url"],
            "SOLANA_NETWORK": "localnet",
            "DATABASE_URL": "embedded",
        }

    def freeze(self) -> list[tuple[Any, ...]]:
        """End the chain; every print that it has ever had."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        return sorted(truth.pushed_since(self.ledger, []))


@pytest.fixture
def chain(program: Program, tmp_path: Path) -> Chain:
    ledger = tmp_path / "ledger.jsonl"
    return Chain(
        program("localnet", "--rpc-port", "0", "--ws-port", "0", "--ledger", ledger, "--json"), ledger
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Only the generation that the node serves, at a pace that a node of one's own allows."""
    path = tmp_path / "quantdesk.toml"
    markets = "".join(
        f'[[markets]]\nsymbol = "{base}-PERP"\nbase_asset = "{base}"\nfeed_id = "{feed_id}"\n'
        'generations = ["core_upgraded"]\n'
        for base, feed_id in (
            ("BTC", "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"),
            ("ETH", "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"),
            ("SOL", "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d"),
        )
    )
    path.write_text(markets)
    return path


async def prints_in(state_dir: Path) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(EmbeddedServer(state_dir).dsn())
    try:
        return sorted(await truth.stored_prints(connection))
    finally:
        await connection.close()


async def test_what_was_pushed_while_a_killed_daemon_was_down_is_healed(
    program: Program, state_dir: Path, chain: Chain, config: Path
) -> None:
    arguments = ("run", "--json", "--state-dir", state_dir, "--config", config)
    daemon = program(*arguments, **chain.variables)

    async def watched(connection: asyncpg.Connection) -> bool:
        return bool(await connection.fetchval("SELECT count(*) = 3 FROM oracle_watermarks"))

    await stored_until(state_dir, watched)
    for pause in (0.5, 6.0):
        daemon.kill()
        daemon.wait()
        await asyncio.sleep(pause)  # the chain goes on: that it does is what is tested
        daemon = program(*arguments, **chain.variables)
        before = set(truth.pushed_since(chain.ledger, []))

        async def healed(connection: asyncpg.Connection, before: set[tuple[Any, ...]] = before) -> bool:
            stored = set(await truth.stored_prints(connection))
            return before & set(truth.pushed_since(chain.ledger, stored)) <= stored

        await stored_until(state_dir, healed)
    daemon.send_signal(signal.SIGTERM)
    out, _ = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert json.loads(out)["rows"]["oracle_prices"] > 0
    stored = await prints_in(state_dir)
    newest = max(row[2] for row in stored)
    chain.freeze()
    pushed = sorted(truth.pushed_since(chain.ledger, stored))
    assert stored == [row for row in pushed if row[2] < newest or row in stored]


async def test_a_backfill_that_is_killed_again_and_again_fills_an_empty_table(
    program: Program, state_dir: Path, chain: Chain, config: Path
) -> None:
    connection = await asyncpg.connect(EmbeddedServer(state_dir).start())
    await schema.apply(connection)
    await connection.close()
    while len(truth.ledger_rows(chain.ledger)) < 60:  # noqa: ASYNC110 (another process writes it)
        await asyncio.sleep(0.2)
    arguments = ("backfill", "--all", "--from", "1h", "--json", "--state-dir", state_dir, "--config", config)
    chance = random.Random(3)
    for _ in range(3):
        killed = program(*arguments, "--rate", "10", **chain.variables)
        await asyncio.sleep(chance.uniform(1.0, 3.0))
        killed.kill()
        killed.wait()
    last = program(*arguments, "--rate", "1000", **chain.variables)
    out, _ = last.communicate(timeout=60)
    assert last.returncode == 0
    summary = json.loads(out)
    assert summary["rejected"] == {}
    assert all(feed["complete"] for feed in summary["feeds"])
    stored = await prints_in(state_dir)
    pushed = chain.freeze()
    newest = max(row[2] for row in stored)
    assert len(stored) >= 60
    assert stored == [row for row in pushed if row[2] < newest or row in stored]


async def test_a_backfill_from_another_networks_node_says_so_and_leaves_no_connection(
    program: Program, state_dir: Path, tmp_path: Path, config: Path
) -> None:
    node = await world.start_node(program, tmp_path / "devnet", "--genesis", "devnet")
    connection = await asyncpg.connect(EmbeddedServer(state_dir).start())
    await schema.apply(connection)
    await connection.close()
    backfill = program(
        "backfill", "--all", "--from", "1h", "--state-dir", state_dir, "--config", config,
        RPC_URL=node.variables["RPC_URL"], SOLANA_NETWORK="mainnet-beta", DATABASE_URL="embedded",
        PYTHONWARNINGS="always::ResourceWarning",
    )  # fmt: skip
    await asyncio.to_thread(backfill.communicate, timeout=60)
    said = (tmp_path / "stderr-1").read_text()
    assert (backfill.returncode, "serves devnet, SOLANA_NETWORK says mainnet-beta" in said) == (69, True)
    assert "ResourceWarning" not in said
