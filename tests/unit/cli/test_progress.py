"""Where there is no terminal, the log tells how far a backfill is."""

from __future__ import annotations

import structlog

from quantdesk_oracle.cli.backfill_report import ProgressBars
from quantdesk_oracle.config import Feed
from quantdesk_oracle.model import SECOND, Generation
from quantdesk_oracle.workers.backfill import FeedReport, Span
from quantdesk_oracle.workers.history_reader import Tally


def test_progress_is_told_now_and_then_and_at_the_end() -> None:
    feed = Feed("BTC-PERP", "7" * 44, Generation.CORE_UPGRADED, bytes(32))
    report = FeedReport("BTC-PERP", feed.name, feed.pubkey, Span(0, 100 * SECOND), Tally(found=12))
    with structlog.testing.capture_logs() as lines, ProgressBars([feed]) as bars:
        for read in (25, 26, 27, 100):
            report.read = read * SECOND
            bars.show(report)
    assert [(line["event"], line["percent"], line["rows"]) for line in lines] == [
        ("backfill.progressed", 25, 12),
        ("backfill.progressed", 100, 12),
    ]
    assert lines[-1]["seconds_left"] == 0
