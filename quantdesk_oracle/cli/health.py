"""``quantdesk-oracle health``: whether a running daemon is alive, or ready. For probes of containers and scripts."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from quantdesk_oracle.cli.client import Url, daemon_client
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether every market is served, not just whether it lives.")
    ] = False,
    url: Url = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running daemon whether it is alive (its event loop moves), or with --ready why it is not ready.

    Exit codes: 0 it is, 1 it is not, 69 no daemon answers.
    """
    with daemon_client(url, config, env_file) as daemon:
        answer = daemon.get("/readyz" if ready else "/livez")
    well = answer.status == 200
    if as_json:
        typer.echo(json.dumps(answer.body))
    else:
        for line in _ready_lines(answer.body) if ready else _alive_lines(answer.body):
            typer.echo(line)
    if not well:
        raise typer.Exit(1)


def _alive_lines(body: Any) -> list[str]:
    state = "alive" if body["alive"] else "stuck"
    return [f"{state}: its event loop moved {body['age_seconds']} s ago (limit {body['limit_seconds']:g} s)"]


def _ready_lines(body: Any) -> list[str]:
    reasons = [f"  {reason['code']}: {reason['sentence']}" for reason in body["reasons"]]
    warnings = [f"  warning: {one['code']}: {one['sentence']}" for one in body["warnings"]]
    return ["ready" if body["ready"] else "not ready:", *reasons, *warnings]
