"""Accounts that are not what the configuration takes them for: each told by its own reason within one poll."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from quantdesk_oracle.assembly import World, assemble
from quantdesk_oracle.bootstrap import load_markets
from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import load_settings
from quantdesk_oracle.config.accounts import account_problems
from quantdesk_oracle.doctor import examine
from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from quantdesk_oracle.model import Freshness, Reason
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.pyth.addresses import to_base58
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.workers.state import Markets
from tests.postgres import TEMPLATE, PostgresServer, execute
from tests.vectors import encoder

RECEIVER = "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp"
LEGACY = "FsJ3A3u2vn5cTVofAjvy6y5kwABJAqYWpe4975bi2epH"
LEGACY_DEVNET = "gSbePebfvPy7tRqimPoVecS2UsBvYv46ynrzWocc92s"
SOMEBODY = "SysvarC1ock11111111111111111111111111111111"
FROZEN = 1_720_000_000
"""July 2024."""
DEVNET_SOL = "J83w4HKfqxwcq3BEMMkPFSppX3gqekLyLJBexebFVkix"


class Planted(NamedTuple):
    """An account, why the daemon refuses it, and what the doctor calls that."""

    owner: str
    data: bytes
    reason: str
    finding: str
    address: str | None = None


PLANTED = {
    "PARTIAL": Planted(RECEIVER, encoder.price_update_v2(signatures=5), "not_full", "feed.rejected"),
    "FOREIGN": Planted(SOMEBODY, encoder.price_update_v2(), "wrong_owner", "feed.wrong_owner"),
    "OTHER": Planted(RECEIVER, encoder.price_update_v2(feed_id=bytes(32)), "wrong_feed", "feed.wrong_feed"),
    "DEVNET": Planted(
        LEGACY_DEVNET, encoder.legacy_price(timestamp=0), "bad_timestamp", "account.legacy", DEVNET_SOL
    ),
    # It is stored, for it was true in its time, and never in use.
    "FROZEN": Planted(LEGACY, encoder.legacy_price(timestamp=FROZEN), "frozen", "feed.frozen"),
}


def address(name: str) -> str:
    return PLANTED[name].address or to_base58(name.encode().ljust(32, b"\1"))


def written(folder: Path) -> Path:
    """Dumps for a node to serve, and a configuration that names them."""
    folder.mkdir()
    lines = []
    for name, planted in PLANTED.items():
        (folder / f"{name}.json").write_text(
            json.dumps(encoder.dump(address(name), planted.owner, planted.data))
        )
        feed = "" if planted.owner in (LEGACY, LEGACY_DEVNET) else f'feed_id = "{encoder.SOL_FEED.hex()}"\n'
        lines.append(
            f'[[markets]]\nsymbol = "{name}-PERP"\nbase_asset = "{name}"\naccounts = ["{address(name)}"]\n{feed}'
        )
    path = folder.with_suffix(".toml")
    path.write_text("\n".join(lines))
    return path


async def test_each_is_told_in_log_metric_event_status_and_by_the_doctor(
    postgres_18: PostgresServer, tmp_path: Path, monkeypatch: Any
) -> None:
    config = written(tmp_path / "accounts")
    local = LocalnetSettings(rpc_port=0, ws_port=0, accounts=tmp_path / "accounts", genesis="mainnet-beta")
    node, clock = LocalNode(local, SystemClock()), SystemClock()
    await node.start()
    await execute(postgres_18.dsn(), f"CREATE DATABASE refused TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    for name, value in {
        "RPC_URL": node.rpc_url,
        "WS_URL": node.ws_url,
        "SOLANA_NETWORK": "mainnet-beta",
        "DATABASE_URL": postgres_18.dsn("refused"),
        "QUANTDESK_STATE_DIR": str(tmp_path / "state"),
        "QUANTDESK_HTTP_PORT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(config_file=config)
    metrics = Metrics(
        [feed.name for feed in settings.feeds], [one.symbol for one in settings.markets], ["rpc"], "test"
    )
    dsn = postgres_18.dsn("refused")
    database = Database(dsn, pool_size=2, command_timeout=10)
    await database.open()
    client = RpcClient(settings.node, metrics, clock)
    try:
        states = await load_markets(database, settings, clock.now())
        parts = assemble(World(settings, clock, database, metrics, client), Markets(states))
        with structlog.testing.capture_logs() as logged:
            await parts.poller.poll()
        findings = await examine(settings, clock, database=dsn, free=lambda _: 1 << 40)
        status = {one.market: one.rejected for one in parts.status.markets()}
    finally:
        await client.close()
        await database.close()
        await node.stop()
        await execute(postgres_18.dsn(), "DROP DATABASE refused WITH (FORCE)")
    refused = {f"{name}-PERP": one.reason for name, one in PLANTED.items()}
    assert status == refused
    assert {line["feed"].split("/")[0]: line["reason"] for line in logged} == refused
    assert {event.market: event.data["reason"] for event in parts.journal.recent} == refused
    scraped = metrics.render().decode()
    for feed in settings.feeds:
        reason = refused[feed.name.split("/")[0]]
        assert metrics.feed(feed.name).rejected[Reason(reason)].value == 1
        assert f'feed_refused{{feed="{feed.name}",reason="{reason}"}} 1' in scraped
    (frozen,) = [one for one in parts.markets if one.symbol == "FROZEN-PERP"]
    assert frozen.index.at(clock.now(), parts.markets.highest_slot).freshness is Freshness.DEAD
    assert [(one.market, "devnet" in one.problem) for one in account_problems(settings)] == [
        ("DEVNET-PERP", True)
    ]
    codes = {(one.subject.split("/")[0], one.code) for one in findings}
    assert {(f"{name}-PERP", one.finding) for name, one in PLANTED.items()} <= codes
