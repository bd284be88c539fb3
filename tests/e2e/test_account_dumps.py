"""The daemon on a node that serves real account dumps: every storable print of a configured feed, exactly."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.e2e.conftest import Program, stored_until
from tests.e2e.truth import EPOCH

pytestmark = pytest.mark.shared

MARKETS = {
    "SOL-LEGACY": "H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG",
    "BTC-LEGACY": "GVXRSBjFk6e6J3NbVPXohDJetcTjaeeuykUpbQF8UoMU",
    "BONK-LEGACY": "8ihFLu5FimgTQ1Unh4dVyEHUGodJ5gJQCrQf4KUVB9bN",
    "SOL-LEGACY-DEVNET": "J83w4HKfqxwcq3BEMMkPFSppX3gqekLyLJBexebFVkix",
    "SOL-CORE": "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE",
    "BONK-CORE": "DBE3N8uNjhKPRHfANdwGvCZghWXyLPdqdSbEW2XFwBiX",
    "SOL-UPGRADED": "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE",
    "SOL-FORK": "BAtFj4kQttZRVep3UZS2aZRDixkGYgWsbqTBVDbnSsPF",
}
"""A market a generation, an old devnet account without a timestamp, and a fork's account, which is nobody's."""


def configuration(folder: Path) -> Path:
    path = folder / "quantdesk.toml"
    path.write_text(
        "\n".join(
            f'[[markets]]\nsymbol = "{symbol}"\nbase_asset = "{symbol.split("-")[0]}"\naccounts = ["{account}"]'
            for symbol, account in MARKETS.items()
        )
    )
    return path


def storable(folder: Path) -> set[tuple[Any, ...]]:
    """(market, publish time, slot, price, confidence, exponent, EMA price) that expected.json gives for MARKETS."""
    accounts = {account: symbol for symbol, account in MARKETS.items()}
    rows = set()
    for values in json.loads((folder / "expected.json").read_text()).values():
        symbol = accounts.get(values["pubkey"])
        if symbol is None or values["owner"].startswith("G6EoTTT"):
            continue
        legacy = values["kind"] == "legacy_price"
        price = values["agg"]["price"] if legacy else values["price"]
        confidence = values["agg"]["conf"] if legacy else values["conf"]
        publish = values["timestamp"] if legacy else values["publish_time"]
        slot = values["agg"]["pub_slot"] if legacy else values["posted_slot"]
        ema = values["ema_price"]["val"] if legacy else values["ema_price"]
        if publish < 1_577_836_800 or (legacy and values["agg"]["status"] != 1):
            continue
        scale = Decimal(1).scaleb(values["exponent"])
        when = EPOCH + timedelta(seconds=publish)
        rows.add((symbol, when, slot, price * scale, confidence * scale, values["exponent"], ema * scale))
    return rows


def free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


async def test_every_storable_print_of_real_dumps_is_a_row(
    program: Program, state_dir: Path, shared: Path, tmp_path: Path
) -> None:
    accounts = shared / "pyth-accounts"
    rpc, ws = free_ports()
    program(
        "localnet", "--accounts", accounts, "--rpc-port", str(rpc), "--ws-port", str(ws),
        "--genesis", "mainnet-beta", "--slot-ms", "200",
    )  # fmt: skip
    await until_listening(rpc)
    daemon = program(
        "run", "--json", "--state-dir", state_dir, "--config", configuration(tmp_path),
        DATABASE_URL="embedded", RPC_URL=f"http://127.0.0.1:{rpc}", WS_URL=f"ws://127.0.0.1:{ws}",
    )  # fmt: skip
    expected = storable(accounts)

    async def complete(connection: asyncpg.Connection) -> bool:
        return int(await connection.fetchval("SELECT count(*) FROM oracle_prices")) >= len(expected)

    await stored_until(state_dir, complete)
    daemon.send_signal(signal.SIGTERM)
    out, _ = await asyncio.to_thread(daemon.communicate, timeout=60)
    assert daemon.returncode == 0
    summary = json.loads(out)
    connection = await asyncpg.connect(summary["dsn"])
    try:
        rows = await connection.fetch(
            "SELECT m.symbol, p.created_at, p.slot, p.price, p.confidence, p.exponent, p.ema_price"
            " FROM oracle_prices AS p JOIN markets AS m ON m.id = p.market_id"
        )
        assert {tuple(row) for row in rows} == expected
        assert len(rows) == summary["updates"] == summary["rows"]["oracle_prices"]
        assert await connection.fetchval("SELECT count(*) FROM mark_prices") == 0, "a mark from a dead oracle"
    finally:
        await connection.close()
    assert summary["rejected"]["bad_timestamp"] == 1
    assert summary["rejected"]["wrong_owner"] == 1


async def until_listening(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            await writer.wait_closed()
            return
    pytest.fail("the local node does not listen within 20 s")


def test_the_dumps_are_what_this_test_takes_them_for(shared: Path) -> None:
    dump = json.loads(
        (shared / "pyth-accounts" / "pu2_mainnet_UPGRADED_SOLUSD_7AviUf9n_2026-09.json").read_text()
    )
    assert len(base64.b64decode(dump["account"]["data"][0])) == 134
    assert len(storable(shared / "pyth-accounts")) >= 15
