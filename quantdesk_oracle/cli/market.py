"""``quantdesk-oracle market``: an operator's hand on one market."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import typer

from quantdesk_oracle.cli.of_market import Actor, Symbol, Why, actor_or_me, market_row
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.cli.reading import reading

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(
    no_args_is_help=True,
    help="Halt and resume markets. A halted market has no marks and no samples, and its funding is skipped with the "
    "reason; the daemons notice within seconds, and it survives their restarts.\n\n"
    "Exit codes: 0 done, 2 no such market, 69 the database does not answer, 78 the settings cannot be used.",
)


@app.command()
def halt(
    market: Symbol,
    reason: Why,
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Halt a market: no marks, no samples, its funding skipped."""
    asyncio.run(_set(market, reason, actor_or_me(actor), config, env_file, state_dir, halted=True))
    _say(market, as_json, "halted", f"{market} is halted: {reason}")


@app.command()
def resume(
    market: Symbol,
    reason: Why,
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """End a market's halt: marks begin again with the next instant whose oracle is fresh."""
    asyncio.run(_set(market, reason, actor_or_me(actor), config, env_file, state_dir, halted=False))
    _say(market, as_json, "resumed", f"{market} is resumed: {reason}")


async def _set(
    symbol: str,
    reason: str,
    actor: str,
    config: Path | None,
    env_file: Path | None,
    state_dir: Path | None,
    *,
    halted: bool,
) -> None:
    from quantdesk_oracle.store import operators

    async with reading(config, env_file, state_dir) as database:
        await market_row(database, symbol)
        change = operators.halt if halted else operators.resume
        await change(database, symbol, actor, reason)


def _say(market: str, as_json: bool, state: str, sentence: str) -> None:
    typer.echo(json.dumps({"market": market, "state": state}) if as_json else sentence)
