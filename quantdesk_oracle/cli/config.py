"""``quantdesk-oracle config``: what the settings are, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import typer

from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Show and check the settings. Secrets never print.")


@app.command()
def show(
    config: ConfigFile = None, env_file: EnvFile = None, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """Show the settings in force, defaults included: what file and environment come to.

    Exit codes: 0, 78 where they cannot be used.
    """
    from quantdesk_oracle.config import load_settings

    described = _describe(load_settings(config_file=config, env_file=env_file, state_dir=state_dir))
    if as_json:
        typer.echo(json.dumps(described, indent=2))
        return
    for line in _lines(described):
        typer.echo(line)


@app.command()
def check(
    config: ConfigFile = None, env_file: EnvFile = None, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """Check the settings without connecting to anything; every problem is listed at once.

    Accounts that will give no usable price are named with the account to use instead.

    Exit codes: 0 all well, 1 usable but an account is a problem, 78 the settings cannot be used.
    """
    from dataclasses import asdict

    from quantdesk_oracle.config import load_settings
    from quantdesk_oracle.config.accounts import account_problems

    try:
        settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    except ConfigError as error:
        if as_json:
            typer.echo(json.dumps({"usable": False, "problems": list(error.problems), "accounts": []}))
            raise typer.Exit(error.exit_code) from None
        raise
    accounts = account_problems(settings)
    if as_json:
        typer.echo(
            json.dumps({"usable": True, "problems": [], "accounts": [asdict(each) for each in accounts]})
        )
    else:
        for each in accounts:
            typer.echo(f"{each.market}: {each.problem}\n    {each.cure}")
        if not accounts:
            typer.echo(
                f"The settings are usable: {len(settings.markets)} markets on {settings.node.network}."
            )
    if accounts:
        raise typer.Exit(1)


def _describe(settings: Any) -> dict[str, Any]:
    """The settings as JSON values: URLs by endpoint name, the DSN without its password."""
    from quantdesk_oracle.config import endpoint_name, redact_dsn

    node, database = settings.node, settings.database
    return {
        "config_file": str(settings.config_file) if settings.config_file else None,
        "state_dir": str(settings.state_dir),
        "network": node.network,
        "rpc_endpoints": [endpoint_name(url.get_secret_value()) for url in node.rpc_urls],
        "websocket_endpoints": [endpoint_name(url.get_secret_value()) for url in node.ws_urls],
        "commitment": node.commitment,
        "poll_interval": node.poll_interval,
        "database_url": redact_dsn(database.url.get_secret_value()),
        "schema_database_url": redact_dsn(database.schema_url.get_secret_value()),
        "http": f"{settings.http_host}:{settings.http_port}",
        "log": {"level": settings.log_level, "format": settings.log_format},
        "hermes": _hermes(settings),
        "markets": [_market(market) for market in settings.markets],
    }


def _hermes(settings: Any) -> dict[str, Any]:
    from quantdesk_oracle.config import endpoint_name

    hermes = settings.hermes
    return {
        "second_source": hermes.second_source,
        "hosts": [endpoint_name(url.get_secret_value()) for url in hermes.urls],
        "benchmarks_host": endpoint_name(hermes.benchmarks_url.get_secret_value()),
        "history": hermes.history.value if hermes.history else "none",
        "key": "set" if hermes.key else "not set",
        "requests": hermes.requests,
    }


def _market(market: Any) -> dict[str, Any]:
    return {
        "symbol": market.symbol,
        "feeds": [
            {
                "account": feed.pubkey,
                "source": feed.source or "solana",
                "generation": feed.generation,
                "feed_id": feed.feed_id.hex() if feed.feed_id else None,
                "configured_by": feed.configured_by,
            }
            for feed in market.feeds
        ],
        "acceptance": market.storage._asdict(),
        "use": market.use._asdict(),
        "mark_band": str(market.mark_band),
        "funding_interval": market.funding_interval,
        "max_funding_rate_bp": market.max_funding_rate,
    }


def _lines(value: Any, indent: str = "") -> list[str]:
    """A nested value as indented `key: value` lines."""
    lines = []
    pairs = (
        value.items()
        if isinstance(value, dict)
        else ((f"[{index}]", each) for index, each in enumerate(value))
    )
    for key, each in pairs:
        if isinstance(each, dict) or (isinstance(each, list) and each and isinstance(each[0], dict)):
            lines += [f"{indent}{key}:", *_lines(each, indent + "  ")]
        else:
            text = ", ".join(map(str, each)) if isinstance(each, list) else each
            lines.append(f"{indent}{key}: {'-' if text is None else text}")
    return lines
