"""status, health, tail, events and init: what a person asks a running daemon and its database."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.model import Severity
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.reading import EventFilter, Stream, Tail, read_events
from tests.e2e.conftest import Program
from tests.e2e.test_demo import until_rows
from tests.postgres import free_port

Command = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "quantdesk_oracle", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **variables},
    )


async def test_a_running_daemon_is_asked(program: Program, state_dir: Path) -> None:
    port = str(free_port())
    process = program("run", "--demo", "--json", "--state-dir", state_dir, QUANTDESK_HTTP_PORT=port)
    await until_rows(state_dir, 12)
    mine = {"QUANTDESK_HTTP_PORT": port, "DATABASE_URL": "embedded", "QUANTDESK_STATE_DIR": str(state_dir)}

    async def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(command, *arguments, **mine)

    done = await ask("health")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "alive")
    done = await ask("health", "--ready", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ready": True, "reasons": [], "warnings": []})
    done = await ask("status")
    assert done.returncode == 0
    assert done.stdout.startswith("ready\n")
    assert "BTC-PERP     fresh" in done.stdout
    done = await ask("status", "--json")
    assert {market["market"] for market in json.loads(done.stdout)["markets"]} == {
        "BTC-PERP",
        "ETH-PERP",
        "SOL-PERP",
    }

    done = await ask("tail", "prints", "marks", "--market", "SOL-PERP", "--for", "4s", "--json")
    assert done.returncode == 0
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["market"] for line in told} == {"SOL-PERP"}
    assert {line["stream"] for line in told} == {"prints", "marks"}
    keys = [(line["stream"], line["created_at"], line.get("slot")) for line in told]
    assert len(set(keys)) == len(keys)

    done = await ask("events", "--type", "daemon.*", "--json")
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["daemon.started"]
    done = await ask("events", "--severity", "critical")
    assert (done.returncode, done.stdout) == (0, "")
    done = await ask("doctor", "--json")
    port_findings = [f for f in json.loads(done.stdout)["findings"] if f["subject"] == "port"]
    assert port_findings[0]["finding"].endswith("is a running daemon's.")
    process.terminate()
    assert await asyncio.to_thread(process.wait, 10) == 0
    assert (await ask("health")).returncode == 69


def test_init_writes_what_doctor_can_read_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert command("init", folder).returncode == 0
    assert (folder / "quantdesk.env").stat().st_mode & 0o077 == 0
    shown = command(
        "config", "show", "--config", folder / "quantdesk.toml", "--env-file", folder / "quantdesk.env"
    )
    assert shown.returncode == 0, shown.stderr
    (folder / "quantdesk.env").write_text("mine")
    again = command("init", folder)
    assert again.returncode == 78
    assert "--force overwrites it" in again.stderr
    assert (folder / "quantdesk.env").read_text() == "mine"
    assert command("init", folder, "--force").returncode == 0


@pytest.fixture
async def events(fresh_dsn: str) -> Database:
    """A database with four events."""
    connection = await asyncpg.connect(fresh_dsn)
    await connection.execute(
        "INSERT INTO markets (symbol, base_asset, quote_asset, oracle_account) VALUES ('X', 'X', 'USD', '')"
    )
    for kind, severity, market in (
        ("feed.dead", "error", "X"),
        ("feed_dead", "info", None),
        ("feed.stale", "warning", None),
        ("\x1b[2Jdaemon<script>", "critical", None),
    ):
        await connection.execute(
            "INSERT INTO system_events (event_type, severity, market_id, event_data)"
            " VALUES ($1, $2::text::event_severity, (SELECT id FROM markets WHERE symbol = $3), '{\"a\": 1}')",
            kind,
            severity,
            market,
        )
    await connection.close()
    return Database(fresh_dsn, pool_size=1, command_timeout=10)


async def test_events_are_filtered_by_severity_market_and_pattern(events: Database) -> None:
    await events.open()

    async def kinds(**wanted: object) -> set[str]:
        return {event.type for event in await read_events(events, EventFilter(0, **wanted))}  # type: ignore[arg-type]

    try:
        assert len(await kinds()) == 4
        assert await kinds(severity=Severity.ERROR) == {"feed.dead", "\x1b[2Jdaemon<script>"}
        assert await kinds(market="X") == {"feed.dead"}
        assert await kinds(kind="feed.*") == {"feed.dead", "feed.stale"}
        assert await kinds(kind="feed_dead") == {"feed_dead"}
        assert await kinds(kind="%") == set()
        assert len(await kinds(limit=2)) == 2
        assert await kinds(until=1) == set()
    finally:
        await events.close()


async def test_a_tail_tells_each_row_once_also_where_it_comes_late(events: Database) -> None:
    await events.open()
    clock = SystemClock()
    tail = Tail(events, [Stream.EVENTS], clock.now() - 60_000_000, None, Severity.INFO)
    try:
        assert len(await tail.read(clock.now())) == 4
        assert await tail.read(clock.now()) == []
        async with events.connection("insert") as connection:
            await connection.execute(
                "INSERT INTO system_events (event_type, created_at) VALUES ('late', clock_timestamp() - interval '3 s')"
            )
        assert [news.row["type"] for news in await tail.read(clock.now())] == ["late"]
    finally:
        await events.close()
