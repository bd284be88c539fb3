"""Durations as people type them: 30s, 5m, 1.5h."""

from __future__ import annotations

import re

import typer

_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(text: str) -> float:
    """``text`` in seconds; a bare number is seconds. Raises typer.BadParameter (exit code 2)."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; expected such as 30s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]
