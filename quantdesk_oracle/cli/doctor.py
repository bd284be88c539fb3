"""``quantdesk-oracle doctor``: every check that a person would make, with cause and cure."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import typer

from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import EX_CONFIG, EX_FAILURE, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from quantdesk_oracle.config import Settings
    from quantdesk_oracle.doctor import Finding

_STYLES = {"ok": "green", "skip": "dim", "warn": "yellow", "fail": "red"}


def doctor(
    config: ConfigFile = None, env_file: EnvFile = None, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """Check everything: settings, endpoints, feeds, database, disk, port, clock. Changes nothing.

    Each endpoint is asked for its cluster, slot and latency, and its websocket has to deliver; each feed's account
    is read and decoded twice; the database is looked at as the daemon's own user. What is not well comes with its
    cause, what to do, and a code to look up in docs/errors.md; at the end stand the lines to write instead.

    Exit codes: 0 no failure (warnings allowed), 1 a check failed, 78 the settings cannot be used.
    """
    from quantdesk_oracle.clock import SystemClock
    from quantdesk_oracle.doctor.round import examine, settings_findings

    settings, problems = _load(config, env_file, state_dir)
    findings = settings_findings(problems)
    if settings is not None:
        database = None if problems and settings.embedded else _dsn(settings)
        findings += asyncio.run(examine(settings, SystemClock(), database=database))
    if env_file is not None:
        findings = [_of_env_file(finding, env_file) for finding in findings]
    _print(findings, as_json=as_json)
    if problems:
        raise typer.Exit(EX_CONFIG)
    if any(finding.grade == "fail" for finding in findings):
        raise typer.Exit(EX_FAILURE)


def _load(
    config: Path | None, env_file: Path | None, state_dir: Path | None
) -> tuple[Settings | None, Sequence[str]]:
    """The settings, or what is left of them without a database, and what is wrong with them."""
    from quantdesk_oracle.config import EMBEDDED, load_settings

    try:
        return load_settings(config_file=config, env_file=env_file, state_dir=state_dir), ()
    except ConfigError as error:
        problems = error.problems
    try:
        rest = load_settings(config_file=config, env_file=env_file, state_dir=state_dir, database=EMBEDDED)
    except ConfigError:
        return None, problems
    return rest, problems


def _dsn(settings: Settings) -> str | None:
    from quantdesk_oracle.store.embedded import EmbeddedServer

    if settings.embedded:
        return EmbeddedServer(settings.state_dir).dsn()
    return settings.database.url.get_secret_value()


def _of_env_file(finding: Finding, env_file: Path) -> Finding:
    """Commands to type read the same variables."""
    option = f" --env-file {shlex.quote(str(env_file))}"
    typed = re.sub(r"quantdesk-oracle schema \w+", lambda command: command[0] + option, finding.cure)
    return replace(finding, cure=typed)


def _lines(findings: Sequence[Finding]) -> list[str]:
    """The variables to write instead; one that two findings want differently is left to the reader."""
    wanted: dict[str, set[str]] = {}
    for finding in findings:
        if "line" in finding.figures:
            name, _, value = str(finding.figures["line"]).partition("=")
            wanted.setdefault(name, set()).add(value)
    return [f"{name}={values.pop()}" for name, values in wanted.items() if len(values) == 1]


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    counts = Counter(finding.grade.value for finding in findings)
    if as_json:
        body = {"well": not counts["fail"], "findings": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(body, indent=2, default=str))
        return
    for finding in findings:
        grade = typer.style(f"{finding.grade.value:<4}", fg=_colour(finding.grade.value))
        typer.echo(f"{grade}  {finding.subject}: {finding.finding}")
        if finding.cure:
            typer.echo(f"      {finding.cure}  [{finding.code}]")
    if lines := _lines(findings):
        typer.echo("Lines to write instead:")
        for line in lines:
            typer.echo(f"    {line}")
    typer.echo(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures.")


def _colour(grade: str) -> str | None:
    colour = _STYLES[grade]
    return None if colour == "dim" else colour
