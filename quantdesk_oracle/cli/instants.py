"""Instants and spans as arguments of commands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from quantdesk_oracle.cli.duration import parse_duration

From = Annotated[
    str,
    typer.Option("--from", help="First instant: ISO 8601 (UTC without a zone), or how far back, such as 1h."),
]
To = Annotated[str, typer.Option("--to", help="Last instant, likewise; `now` by default.")]
At = Annotated[
    str, typer.Option("--at", help="The instant: ISO 8601 (UTC without a zone), `now`, or 10m for ago.")
]


def parse_instant(text: str, now: int) -> int:
    """``text`` as an instant in µs. Raises typer.BadParameter."""
    if text == "now":
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now - int(parse_duration(text) * 1_000_000)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def iso(instant: int) -> str:
    """An instant (µs) as text: whole seconds without their fraction."""
    moment = datetime.fromtimestamp(instant // 1_000_000, UTC)
    fraction = f".{instant % 1_000_000:06d}" if instant % 1_000_000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
