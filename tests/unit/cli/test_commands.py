"""The program as a person meets it: help, version, exit codes, and no secret in what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from quantdesk_oracle import __version__
from quantdesk_oracle.cli import app
from tests.unit.cli.conftest import Run

DSN = "postgresql://quantdesk_oracle:sesame@db.example:5432/quantdesk"
TODAY = {
    "BTC_ORACLE_ACCOUNT": "HovQMDrbAgAYPCmHVSrezcSmkMtXSSUsLDFANExrZh2J",
    "ETH_ORACLE_ACCOUNT": "JBu1AL4obBcCMqKBBxhpWCNUt136ijcuMZLFvTP7iWdB",
    "SOL_ORACLE_ACCOUNT": "H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG",
}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of the program."""
    yield path, command
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", list(ALL), ids=" ".join)
def test_every_command_and_option_explains_itself(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{' '.join(path)} {parameter.name}"


@pytest.mark.parametrize("path", [(), ("run",), ("config", "check"), ("db", "psql")], ids=" ".join)
def test_help_ends_with_zero(run: Run, path: tuple[str, ...]) -> None:
    for flag in ("--help", "-h") if not path else ("--help",):
        done = run(*path, flag)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: " in done.stdout


def test_the_help_names_every_exit_code(run: Run) -> None:
    said = run("--help").stdout
    for code in ("0", "1", "2", "65", "69", "78"):
        assert f" {code} " in " ".join(said.split())


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, __version__ + "\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["run", "--for", "soon"],
        ["run", "--for", "-5s"],
        ["localnet", "--genesis", "moon"],
        ["config", "show", "--config"],
    ],
)
def test_wrong_usage_ends_with_two(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_forgotten_database_url_ends_with_78_and_the_sentence_to_act_on(run: Run) -> None:
    done = run("run")
    assert done.returncode == 78
    assert "DATABASE_URL is not set" in done.stderr
    assert "run --demo" in done.stderr
    assert done.stdout == ""


def test_every_problem_is_a_line_and_the_code_78(run: Run) -> None:
    done = run("run", SOLANA_NETWORK="mainnet", QUANTDESK_HTTP_PORT="x", DATABASE_URL="mysql://u:sesame@h/d")
    assert done.returncode == 78
    for name in ("SOLANA_NETWORK", "QUANTDESK_HTTP_PORT", "DATABASE_URL"):
        assert name in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_ends_with_69_and_without_its_password(run: Run) -> None:
    done = run(
        "run",
        DATABASE_URL="postgresql://somebody:sesame@127.0.0.1:1/quantdesk",
        RPC_URL="http://127.0.0.1:1",
        SOLANA_NETWORK="localnet",
        QUANTDESK_HTTP_PORT="0",
    )
    assert done.returncode == 69
    assert "cannot connect to postgresql://somebody:***@127.0.0.1:1/quantdesk" in done.stderr
    assert "sesame" not in done.stderr + done.stdout


def test_bad_data_ends_with_65(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_text("{}")
    assert run("decode", tmp_path / "dump.json").returncode == 65


def test_nobody_who_answers_for_health_is_69(run: Run) -> None:
    done = run("health", "--url", "http://127.0.0.1:1")
    assert done.returncode == 69
    assert "no daemon answers at http://127.0.0.1:1/livez" in done.stderr


def test_a_state_directory_that_cannot_be_made_ends_with_78(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("run", "--demo", "--state-dir", tmp_path / "file" / "below")
    assert done.returncode == 78
    assert "choose one with --state-dir" in done.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_secret_is_shown(run: Run, form: list[str]) -> None:
    done = run(
        "config",
        "show",
        *form,
        DATABASE_URL=DSN,
        SCHEMA_DATABASE_URL=DSN.replace("quantdesk_oracle", "owner"),
        RPC_URL="https://rpc.example/v2/sesame?api-key=sesame",
        WS_URL="wss://user:sesame@rpc.example/sesame",
        SUPABASE_ANON_KEY="sesame-anon",
        SUPABASE_SERVICE_ROLE_KEY="sesame-service",
    )
    assert done.returncode == 0
    assert "sesame" not in done.stdout + done.stderr
    assert "rpc.example" in done.stdout
    assert "postgresql://quantdesk_oracle:***@db.example:5432/quantdesk" in done.stdout


def test_config_show_as_json_names_markets_and_feeds(run: Run) -> None:
    shown = json.loads(run("config", "show", "--json", DATABASE_URL=DSN).stdout)
    assert [market["symbol"] for market in shown["markets"]] == ["BTC-PERP", "ETH-PERP", "SOL-PERP"]
    assert shown["markets"][0]["feeds"][0]["generation"] == "core_upgraded"


def test_config_check_says_that_all_is_well(run: Run) -> None:
    done = run("config", "check", DATABASE_URL=DSN)
    assert (done.returncode, done.stdout) == (0, "The settings are usable: 3 markets on mainnet-beta.\n")


def test_config_check_gives_the_lines_to_replace_todays_accounts_by(run: Run) -> None:
    done = run("config", "check", DATABASE_URL=DSN, **TODAY)
    assert done.returncode == 1
    for line in (
        "BTC_ORACLE_ACCOUNT=APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5",
        "ETH_ORACLE_ACCOUNT=7odryi4WfoMFHtv2eubdMgP1pqQMmdiXSK1N2tqZ2nRH",
        "SOL_ORACLE_ACCOUNT=7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE",
    ):
        assert f"Set {line}" in done.stdout


def test_config_check_as_json(run: Run) -> None:
    done = run("config", "check", "--json", DATABASE_URL=DSN, **TODAY)
    found = json.loads(done.stdout)
    assert (done.returncode, found["usable"], len(found["accounts"])) == (1, True, 3)
    done = run("config", "check", "--json", SOLANA_NETWORK="moon")
    found = json.loads(done.stdout)
    assert (done.returncode, found["usable"], len(found["problems"])) == (78, False, 2)


def test_the_embedded_database_is_started_shown_and_stopped(run: Run, tmp_path: Path) -> None:
    state = ("--state-dir", tmp_path / "state")
    try:
        url = run("db", "url", *state)
        assert url.returncode == 0
        assert url.stdout.startswith("postgresql://")
        shown = run("db", "psql", *state, "-c", "SELECT 6 * 7", "-At")
        assert (shown.returncode, shown.stdout) == (0, "42\n")
    finally:
        stopped = run("db", "stop", *state)
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert run("db", "stop", *state).stdout == "it was not running\n"
