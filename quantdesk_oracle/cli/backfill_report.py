"""What a backfill shows: bars or log lines while it reads, and its summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from quantdesk_oracle.cli.instants import iso
from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.workers.backfill import FeedReport, Span

LOG_SECONDS: Final = 10.0
"""The time between two lines of a feed's progress, where there is no terminal."""
log = structlog.get_logger("cli.backfill")


class ProgressBars:
    """A progress bar a feed on a terminal; elsewhere a line of the log every few seconds."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[rows]} rows  {task.fields[speed]:.1f}/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks = {
            feed.name: self._progress.add_task(feed.name, total=1.0, rows=0, speed=0.0, start=False)
            for feed in feeds
        }
        self._begun: dict[str, float] = {}
        self._logged_at: dict[str, float] = {}

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def show(self, report: FeedReport) -> None:
        """How far one feed is."""
        task = self._tasks[report.feed]
        if report.feed not in self._begun:
            self._begun[report.feed] = time.monotonic()
            self._progress.start_task(task)
        seconds = max(time.monotonic() - self._begun[report.feed], 0.1)
        found = report.tally.found
        self._progress.update(task, completed=report.share, rows=found, speed=found / seconds)
        if self._progress.disable:
            self._log(report, seconds)

    def _log(self, report: FeedReport, seconds: float) -> None:
        now, share = time.monotonic(), report.share
        if now - self._logged_at.get(report.feed, -LOG_SECONDS) < LOG_SECONDS and share < 1.0:
            return
        self._logged_at[report.feed] = now
        left = round(seconds / share - seconds) if share else None
        log.info(
            "backfill.progressed",
            feed=report.feed,
            percent=round(100 * share),
            rows=report.tally.found,
            rows_per_second=round(report.tally.found / seconds, 1),
            seconds_left=left,
        )


def summary_of(
    reports: Iterable[FeedReport], span: Span, *, requests: int, retries: int, dry_run: bool
) -> dict[str, Any]:
    """What has been read so far, of each feed and of all; a JSON object."""
    feeds = [_feed_summary(report) for report in reports]
    totals = {
        key: sum(feed[key] for feed in feeds) for key in ("found", "inserted", "already_there", "missing")
    }
    rejected: dict[str, int] = {}
    for feed in feeds:
        for reason, count in feed["rejected"].items():
            rejected[reason] = rejected.get(reason, 0) + count
    return {
        **totals,
        "rejected": rejected,
        "requests": requests,
        "retries": retries,
        "dry_run": dry_run,
        "from": iso(span.start - span.start % SECOND),
        "to": iso(span.end - span.end % SECOND),
        "feeds": feeds,
    }


def _feed_summary(report: FeedReport) -> dict[str, Any]:
    tally = report.tally
    return {
        "market": report.market,
        "feed": report.feed,
        "account": report.account,
        "found": tally.found,
        "inserted": tally.inserted,
        "already_there": tally.known,
        "missing": tally.missing,
        "rejected": {reason.value: count for reason, count in sorted(tally.rejected.items())},
        "complete": report.share >= 1.0,
        "note": report.note,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The summary as a table; nothing where nothing was begun."""
    if not summary:
        return
    table = Table("feed", "found", "inserted", "already there", "rejected", "")
    for feed in summary["feeds"]:
        rejected = ", ".join(f"{count} {reason}" for reason, count in feed["rejected"].items())
        note = feed["note"] or ("" if feed["complete"] else "not finished")
        table.add_row(
            feed["feed"],
            str(feed["found"]),
            str(feed["inserted"]),
            str(feed["already_there"]),
            rejected,
            note,
        )
    Console().print(table)
    requests = f"{summary['requests']} requests, {summary['retries']} retries"
    typer.echo(
        f"{summary['from']} to {summary['to']}: {requests}" + (", nothing written" * summary["dry_run"])
    )
