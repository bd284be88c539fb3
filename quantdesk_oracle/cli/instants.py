"""Instants and spans as arguments of commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
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


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH
"""No instant is before Unix time 0, for no print is, nor after what a datetime holds."""


def parse_instant(text: str, now: int) -> int:
    """``text`` as an instant in µs. Raises typer.BadParameter."""
    if text == "now":
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        instant = now - int(parse_duration(text) * 1_000_000)
    else:
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        instant = (moment - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= instant <= _LATEST // timedelta(microseconds=1):
        raise typer.BadParameter(f"{text} is not between 1970 and 9999")
    return instant


def parse_span(start: str, end: str) -> tuple[int, int]:
    """Two instants as people type them, µs. Raises typer.BadParameter, also where nothing lies between them."""
    now = time.time_ns() // 1_000
    span = parse_instant(start, now), parse_instant(end, now)
    if span[0] >= span[1]:
        raise typer.BadParameter(f"--from {start} is not before --to {end}")
    return span


def iso(instant: int) -> str:
    """An instant (µs) as text: whole seconds without their fraction."""
    moment = datetime.fromtimestamp(instant // 1_000_000, UTC)
    fraction = f".{instant % 1_000_000:06d}" if instant % 1_000_000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
