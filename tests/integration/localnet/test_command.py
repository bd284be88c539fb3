"""`quantdesk-oracle localnet` as a process."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMAND = [
    sys.executable,
    "-c",
    "import typer; from quantdesk_oracle.cli.localnet import localnet; typer.run(localnet)",
]
FREE = ["--rpc-port", "0", "--ws-port", "0"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The process, and the line that it said when it was ready."""
    with subprocess.Popen(
        [*COMMAND, *FREE, "--json", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_exit_0(number: signal.Signals) -> None:
    with running() as (process, _):
        process.send_signal(number)
        assert process.wait(timeout=30) == 0


def test_ready_it_says_where_it_listens_and_what_it_serves(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with running("--ledger", str(ledger), "--genesis", "devnet") as (_, ready):
        assert ready["simulated"] is True
        assert ready["genesis"] == "devnet"
        assert [feed["symbol"] for feed in ready["feeds"]] == ["BTC/USD", "ETH/USD", "SOL/USD"]
        assert ready["ledger"] == str(ledger)
        host, port = ready["rpc_url"].removeprefix("http://").split(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        assert len(ledger.read_text().splitlines()) >= 3


def test_it_ends_by_itself_when_asked_to() -> None:
    ended = run(*FREE, "--for", "100ms")
    assert ended.returncode == 0
    assert "SIMULATED" in ended.stdout


def test_a_port_in_use_is_exit_69_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("--rpc-port", port, "--ws-port", "0")
    assert ended.returncode == 69
    assert f"port {port} of 127.0.0.1 is in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_ledger_in_use_is_exit_69_with_a_sentence(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.jsonl")
    with running("--ledger", ledger):
        ended = run(*FREE, "--ledger", ledger)
    assert ended.returncode == 69
    assert "in use by another node" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--for", "soon"], 2),
        (["--genesis", "moonnet"], 2),
        (["--slot-ms", "0"], 2),
        (["--legacy"], 2),
        ([*FREE, "--faults", "no/such/file.toml"], 65),
        ([*FREE, "--accounts", "no/such/folder"], 65),
    ],
)
def test_wrong_arguments_end_it_with_their_exit_code(arguments: list[str], code: int) -> None:
    ended = run(*arguments)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def test_help_says_that_the_market_is_simulated() -> None:
    assert "SIMULATED" in run("--help").stdout


def test_a_schedule_and_control_are_taken_from_the_command_line(tmp_path: Path) -> None:
    schedule = tmp_path / "faults.toml"
    schedule.write_text('[[faults]]\nkind = "half_open"\n')
    with running("--faults", str(schedule), "--control") as (_, ready):
        with urllib.request.urlopen(ready["control"], timeout=30) as answer:
            faults = json.load(answer)["faults"]
        assert [(fault["kind"], fault["state"]) for fault in faults] == [("half_open", "acting")]


def test_a_load_serves_as_many_legacy_feeds_as_it_was_asked_for() -> None:
    with running("--feeds", "30", "--legacy") as (_, ready):
        assert len(ready["feeds"]) == 30
        assert ready["feeds"][0]["symbol"] == "LOAD0001/USD"
        assert {feed["generation"] for feed in ready["feeds"]} == {"legacy"}
