"""``quantdesk-oracle status``: what a running daemon says of itself."""

from __future__ import annotations

import json
from typing import Any

import typer

from quantdesk_oracle.cli.client import Url, daemon_client
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile

_COLOURS = {"fresh": "green", "stale": "yellow", "dead": "red", "unproven": "cyan"}


def status(
    url: Url = None, config: ConfigFile = None, env_file: EnvFile = None, as_json: AsJson = False
) -> None:
    """Show a running daemon's state: markets, why it is not ready, what it has written.

    Exit codes: 0 ready, 1 not ready, 69 no daemon answers.
    """
    with daemon_client(url, config, env_file) as daemon:
        body = daemon.get("/status").body
        ready = daemon.get("/readyz").body
    if as_json:
        typer.echo(json.dumps({**body, **ready}, indent=2))
    else:
        for line in _lines(body, ready):
            typer.echo(line)
    if not ready["ready"]:
        raise typer.Exit(1)


def _lines(body: dict[str, Any], ready: dict[str, Any]) -> list[str]:
    lines = ["ready" if ready["ready"] else "NOT READY"]
    lines += [f"  {reason['code']}: {reason['sentence']}" for reason in ready["reasons"]]
    lines += [f"  warning: {one['code']}: {one['sentence']}" for one in ready["warnings"]]
    lines += [_market(market) for market in body.get("markets", ())]
    lines += [_instance(one) for one in body.get("instances", ())]
    rows = body.get("rows", {})
    lines.append("written: " + ", ".join(f"{count:,} {table}" for table, count in rows.items()))
    rejected = ", ".join(f"{count} {reason}" for reason, count in body.get("rejected", {}).items()) or "none"
    lines.append(
        f"prints: {body.get('updates', 0):,}, again {body.get('duplicates', 0):,}, rejected: {rejected}; "
        f"reconnects: {body.get('reconnects', 0)}"
    )
    return lines


def _instance(one: dict[str, Any]) -> str:
    ready = "ready" if one["ready"] else "not ready"
    return (
        f"daemon {one['id']} {one['state']}, {ready}, version {one['version']}, {len(one['markets'])} markets, "
        f"seen {one['seen_age']:.0f} s ago, {one['spool_rows']:,} rows on disk"
    )


def _market(market: dict[str, Any]) -> str:
    freshness = typer.style(f"{market['freshness']:<8}", fg=_COLOURS.get(market["freshness"]))
    age = "-" if market["age"] is None else f"{market['age']:.0f} s"
    price, mark = market["price"] or "-", market["mark_price"] or "-"
    return (
        f"{market['market']:<12} {freshness} price {price} ± {market['confidence'] or '-'}, age {age}, "
        f"mark {mark}, funding {market['funding_rate']}, next in {market['next_funding']:.0f} s"
    )
