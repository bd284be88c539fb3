"""Every metric, in one table: the registry is built from it, and so is the page of the documentation.

Names follow Prometheus: base units, ``_total`` on counters alone, instants as ``_timestamp_seconds`` gauges.
A value that nobody knows yet is NaN; an instant that has not come yet is 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

PREFIX = "quantdesk_oracle_"

MetricType = Literal["gauge", "counter", "histogram", "info"]

LAG_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds; multiples of the 0.4 s slot in the middle."""
CALL_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds; of a database statement or an RPC request."""
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Rows; a batch has at most 500."""


class MetricSpec(NamedTuple):
    """One metric. ``name`` is whole, as scraped; ``buckets`` are a histogram's upper bounds without +Inf."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def _gauge(name: str, labels: tuple[str, ...], text: str) -> MetricSpec:
    return MetricSpec(PREFIX + name, "gauge", labels, text)


def _counter(name: str, labels: tuple[str, ...], text: str) -> MetricSpec:
    return MetricSpec(PREFIX + name, "counter", labels, text)


def _histogram(name: str, labels: tuple[str, ...], text: str, buckets: tuple[float, ...]) -> MetricSpec:
    return MetricSpec(PREFIX + name, "histogram", labels, text, buckets)


FEED = ("feed",)
ENDPOINT = ("endpoint",)
MARKET = ("market",)
TABLE = ("table",)
QUEUE = ("queue",)
WORKER = ("worker",)

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(PREFIX + "build_info", "info", ("version", "python"), "What is running; always 1 (no unit)."),
    # feeds
    _gauge(
        "feed_publish_timestamp_seconds",
        FEED,
        "Publish time of the feed's newest storable print (Unix seconds; 0: none yet).",
    ),
    _gauge(
        "feed_received_timestamp_seconds",
        FEED,
        "When the feed's newest storable print was received (Unix seconds; 0: none yet).",
    ),
    _gauge("feed_slot", FEED, "Slot of the feed's newest storable print (slot number; 0: none yet)."),
    _gauge("feed_price", FEED, "Price of the feed's newest storable print (quote units; NaN: none yet)."),
    _gauge(
        "feed_confidence_ratio",
        FEED,
        "Confidence interval of the feed's newest storable print over its price (ratio; NaN: none yet).",
    ),
    _gauge(
        "feed_state",
        ("feed", "state"),
        "1 for the state the feed is in, 0 for the others (unproven, fresh, stale, dead; no unit).",
    ),
    _counter(
        "updates_total",
        ("feed", "source"),
        "Distinct storable prints received, by the way that brought them first (count).",
    ),
    _counter(
        "rejected_total",
        ("feed", "reason"),
        "Observations rejected, or stored with a mark on them (quarantined, wide, frozen), by reason code (count).",
    ),
    _gauge(
        "feed_refused",
        ("feed", "reason"),
        "1 for why the feed's newest delivery was rejected, or is frozen, 0 for the others (no unit).",
    ),
    _histogram(
        "ingest_lag_seconds",
        ("source",),
        "From a print's publish time, which has whole seconds, to its receipt (seconds).",
        LAG_BUCKETS,
    ),
    _histogram("commit_lag_seconds", (), "From a print's receipt to its commit (seconds).", LAG_BUCKETS),
    # nodes
    _histogram(
        "rpc_request_duration_seconds",
        ("endpoint", "method"),
        "Duration of a request to a Solana node, failed ones included (seconds).",
        CALL_BUCKETS,
    ),
    _counter("rpc_errors_total", ("endpoint", "kind"), "Requests to a Solana node that failed (count)."),
    _gauge(
        "subscription_up",
        ENDPOINT,
        "1 while a websocket to the endpoint is subscribed to every feed it should be, else 0 (no unit).",
    ),
    _counter(
        "subscription_reconnects_total",
        ("reason",),
        "Websocket connections that ended when nobody had asked them to (count).",
    ),
    _gauge("endpoint_active", ENDPOINT, "1 while the endpoint is the one in use, else 0 (no unit)."),
    # sources beside the nodes
    _gauge(
        "source_up",
        ("source", "endpoint"),
        "1 while prints stream from the endpoint of a source beside the Solana nodes (hermes), else 0 (no unit).",
    ),
    _counter(
        "source_errors_total",
        ("source", "endpoint", "kind"),
        "Requests to such an endpoint that failed, and streams of it that ended (count).",
    ),
    # from memory to disk to the database
    _gauge("queue_depth", QUEUE, "What waits in the queue (items)."),
    _gauge("queue_capacity", QUEUE, "What the queue holds at most (items)."),
    _gauge("spool_rows", (), "Rows on disk that wait for the database (rows)."),
    _gauge("spool_bytes", (), "Size of the spool on disk (bytes)."),
    _gauge(
        "spool_oldest_timestamp_seconds",
        (),
        "When the oldest row of the spool was received (Unix seconds; NaN: the spool is empty).",
    ),
    _histogram("db_batch_rows", (), "Size of a committed batch (rows).", BATCH_BUCKETS),
    _histogram(
        "db_batch_duration_seconds",
        (),
        "Duration of a batch, from its statement to its commit (seconds).",
        CALL_BUCKETS,
    ),
    _counter("db_rows_written_total", TABLE, "Rows that this process inserted (rows)."),
    _counter("db_rows_duplicate_total", TABLE, "Rows that the database had already (rows)."),
    _counter(
        "db_rows_refused_total",
        TABLE,
        "Rows that the database refused for what they hold; the spool keeps them for a person to look at (rows).",
    ),
    _counter(
        "db_rows_dropped_total", TABLE, "Rows given up because neither database nor disk took them (rows)."
    ),
    _gauge("db_up", (), "1 while the database answers, else 0 (no unit)."),
    # markets, marks and funding
    _gauge(
        "ready",
        (),
        "1 while every market is served and nothing else is wrong, as /readyz says, else 0 (no unit).",
    ),
    _gauge(
        "trouble",
        ("code",),
        "Reasons and warnings that /readyz gives now, by code; docs/errors.md has each (count).",
    ),
    _gauge(
        "market_state",
        ("market", "state"),
        "1 for the state the market's index is in, 0 for the others (unproven, fresh, stale, dead; no unit).",
    ),
    _gauge("market_halted", MARKET, "1 while an operator has halted the market, else 0 (no unit)."),
    _gauge("mark_price", MARKET, "Newest mark price (quote units; NaN: none yet)."),
    _gauge(
        "mark_index_ratio", MARKET, "Newest mark price over its index price, less 1 (ratio; NaN: none yet)."
    ),
    _gauge(
        "funding_rate_ratio",
        MARKET,
        "Newest settled funding rate (ratio per funding interval; positive: longs pay; NaN: none yet).",
    ),
    _gauge(
        "funding_last_boundary_timestamp_seconds",
        MARKET,
        "Boundary of the newest funding row (Unix seconds; 0: none yet).",
    ),
    _gauge(
        "funding_cap_ratio",
        MARKET,
        "Highest funding rate that the parameters in force allow (ratio per funding interval; NaN: not known yet).",
    ),
    _gauge(
        "funding_interval_seconds",
        MARKET,
        "Length of the market's funding interval (seconds; 0: not known yet).",
    ),
    _counter("funding_skipped_total", MARKET, "Funding intervals settled as skipped (intervals)."),
    # healing and the process itself
    _gauge(
        "state_dir_free_bytes",
        (),
        "What the file system of the state directory has left (bytes; NaN: not looked at yet).",
    ),
    _gauge("gaps_open", FEED, "Ranges of chain history that still have to be read back (gaps)."),
    _counter("gap_rows_healed_total", FEED, "Rows read back from chain history (rows)."),
    _gauge(
        "clock_difference_seconds",
        (),
        "This machine's clock less the database's, as far as the two certainly differ (seconds).",
    ),
    _gauge("worker_up", WORKER, "1 while the worker runs, else 0 (no unit)."),
    _counter("worker_restarts_total", WORKER, "Times the worker was started again (count)."),
    _gauge(
        "event_loop_lag_seconds",
        (),
        "Worst delay of the event loop within the last minute, or of the beat that is overdue (seconds).",
    ),
    _gauge("event_loop_tasks", (), "Tasks of the event loop at its last beat (tasks)."),
    _counter(
        "decode_mismatch_total",
        (),
        "Accounts that the fast decoder and its specification disagree on (count).",
    ),
)


def described() -> list[MetricSpec]:
    """Every metric of this project in the order of the documentation: (name, type, labels, help, buckets)."""
    return list(METRICS)
