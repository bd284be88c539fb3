"""Instants as people type them, and the rate at which history is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from quantdesk_oracle.cli.backfill_run import at_rate
from quantdesk_oracle.cli.gaps import _write
from quantdesk_oracle.cli.instants import parse_instant, parse_span
from quantdesk_oracle.config import load_settings
from quantdesk_oracle.errors import DataError

NOW = 1_790_000_000_000_000


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", NOW),
        ("1.5h", NOW - 5_400_000_000),
        ("1970-01-01", 0),
        ("2026-11-01T00:00:00.000001", 1_793_491_200_000_001),
        ("2026-11-01T02:00:00+02:00", 1_793_491_200_000_000),
        ("9999-12-31T23:59:59", 253_402_300_799_000_000),
    ],
)
def test_an_instant_is_a_time_or_how_long_ago(text: str, instant: int) -> None:
    assert parse_instant(text, NOW) == instant


@pytest.mark.parametrize(
    "text",
    [
        "99999999d",
        "0001-01-01",
        "1969-12-31T23:59:59",
        "9999-12-31T23:59:59-12:00",
        "2026-13-01",
        "-6h",
        "nan",
    ],
)
def test_an_instant_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_instant(text, NOW)


@pytest.mark.parametrize(("start", "end"), [("now", "1h"), ("2026-11-01", "2026-11-01")])
def test_a_span_of_nothing_is_refused(start: str, end: str) -> None:
    with pytest.raises(typer.BadParameter, match=f"--from {start} is not before --to {end}"):
        parse_span(start, end)


@pytest.mark.parametrize(("rate", "of_one_method"), [(None, 20), (4.0, 40), (0.1, 1)])
def test_a_backfill_leaves_half_of_the_limits_to_a_daemon_unless_it_is_told_a_rate(
    rate: float | None, of_one_method: int
) -> None:
    settings = at_rate(load_settings(database="postgresql://localhost/none"), rate)
    assert [one.method_requests for one in settings.node.endpoints] == [of_one_method]


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        _write(tmp_path / "nowhere" / "gaps.svg", "<svg/>")
