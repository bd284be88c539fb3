"""Signals to a real process: SIGHUP reads thresholds again and never kills; a second SIGTERM does not wait."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Program
from tests.e2e.test_demo import wait_for_signal_handlers
from tests.postgres import PostgresServer, execute

Errors = Callable[[int], list[dict[str, Any]]]


def until_logged(errors: Errors, event: str) -> list[dict[str, Any]]:
    """Wait until the first process has logged ``event``; the lines of it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := [line for line in errors(0) if line["event"] == event]:
            return found
        time.sleep(0.05)
    pytest.fail(f"{event} was not logged: {errors(0)[-5:]}")


def test_thresholds_are_taken_over_and_the_rest_is_named(
    program: Program, state_dir: Path, errors: Errors, tmp_path: Path
) -> None:
    config = tmp_path / "quantdesk.toml"
    config.write_text("[use]\nfresh = 75\n")
    process = program("run", "--demo", "--json", "--state-dir", state_dir, "--config", config)
    until_logged(errors, "daemon.started")
    config.write_text("[use]\nfresh = 60\n[mark]\ninterval = 2\n")
    process.send_signal(signal.SIGHUP)
    changed = until_logged(errors, "threshold.changed")
    assert {line["market"] for line in changed} == {"BTC-PERP", "ETH-PERP", "SOL-PERP"}
    assert (changed[0]["threshold"], changed[0]["before"], changed[0]["now"]) == (
        "fresh",
        "75000000",
        "60000000",
    )
    assert until_logged(errors, "settings.kept")[0]["settings"] == ["mark_interval"]
    config.write_text("[use]\nfresh = 0\n")
    process.send_signal(signal.SIGHUP)
    assert "use.fresh" in until_logged(errors, "settings.refused")[0]["problems"][0]
    process.terminate()
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(out)["rows"]["system_events"] > 0


def test_a_sighup_during_start_kills_nothing(program: Program, state_dir: Path, errors: Errors) -> None:
    process = program("run", "--demo", "--json", "--for", "3s", "--state-dir", state_dir)
    wait_for_signal_handlers(process)
    for _ in range(20):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "rows" in json.loads(out)
    assert until_logged(errors, "settings.reread")


def test_a_second_sigterm_leaves_at_once(
    program: Program, state_dir: Path, errors: Errors, postgres_18: PostgresServer
) -> None:
    asyncio.run(execute(postgres_18.dsn(), "CREATE DATABASE left_at_once TEMPLATE with_schema"))
    process = program(
        "run",
        "--json",
        "--state-dir",
        state_dir,
        DATABASE_URL=postgres_18.dsn("left_at_once"),
        SOLANA_NETWORK="localnet",
        RPC_URL="http://127.0.0.1:1",
    )
    until_logged(errors, "daemon.started")
    postgres_18.freeze()  # now draining takes as long as it may
    try:
        process.terminate()
        until_logged(errors, "daemon.stopping")
        process.terminate()
        assert process.wait(5) == 1
    finally:
        postgres_18.thaw()
    asyncio.run(execute(postgres_18.dsn(), "DROP DATABASE left_at_once WITH (FORCE)"))
    assert [line for line in errors(0) if line["event"] == "daemon.stopped"] == []
