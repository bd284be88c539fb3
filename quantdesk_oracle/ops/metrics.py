"""The metrics of one process, in a registry of their own, with every label set there from the start.

The hot path holds a child (``metrics.feed("BTC-PERP/core_upgraded").updates[Source.POLL]``) and never asks
for labels. Those of feeds, markets and lags belong to the event loop; the others are safe to use from any thread.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from quantdesk_oracle.errors import NodeBehindError, NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.model import SECOND, Freshness, Reason, Source
from quantdesk_oracle.ops.metric_table import FEED, MARKET, METRICS, PREFIX, MetricSpec, described
from quantdesk_oracle.ops.readiness import CODES
from quantdesk_oracle.ops.series import Distribution, Family, Number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantdesk_oracle.model import PriceUpdate

__all__ = [
    "EndpointMetrics",
    "FeedMetrics",
    "MarketMetrics",
    "Metrics",
    "OneHot",
    "QueueMetrics",
    "SourceMetrics",
    "TableMetrics",
    "WorkerMetrics",
    "described",
]

# One more series for every counter, of its creation: twice the scrape, and nobody here asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"
"""The label value for what has no value of its own; it keeps the number of label sets bounded."""

RPC_METHODS = (
    "getAccountInfo",
    "getBlockTime",
    "getGenesisHash",
    "getHealth",
    "getMultipleAccounts",
    "getSignaturesForAddress",
    "getSlot",
    "getTransaction",
    "getVersion",
    OTHER,
)
RPC_ERROR_KINDS = (
    NodeError.kind,
    RateLimitedError.kind,
    NodeBehindError.kind,
    NodeProtocolError.kind,
    "subscription",
    "timeout",
    "nothing",
    "unauthorized",
    "wrong_cluster",
    OTHER,
)
RECONNECT_REASONS = ("closed", "error", "failover", "protocol", "refused", "stale", OTHER)
TABLES = ("oracle_prices", "mark_prices", "premium_samples", "funding_rates", "system_events")
NAN = float("nan")
MANY_FEEDS = 200
"""Beyond so many, what has never happened to a feed is not written: that would be 31 zeros a feed, half of a scrape."""
_SPARSE = ("updates_total", "rejected_total", "feed_refused")
_HOT = ("ingest_lag_seconds", "commit_lag_seconds")


_Child = TypeVar("_Child")


class _Bounded(dict[str, _Child]):
    """Children by a label's value; a value that nobody foresaw is `other`."""

    def __missing__(self, key: str) -> _Child:
        return self[OTHER]


class OneHot:
    """The one-hot gauges of a feed's or a market's freshness."""

    def __init__(self, family: Family, subject: str) -> None:
        self._children = {state: family.number(subject, state.value) for state in Freshness}
        self.set(Freshness.UNPROVEN)

    def set(self, state: Freshness) -> None:
        """1 for ``state``, 0 for the others."""
        for each, child in self._children.items():
            child.set(each is state)


class Refusal:
    """The one-hot gauges of why a feed's newest delivery was rejected."""

    def __init__(self, family: Family, subject: str) -> None:
        self._children = {reason: family.number(subject, reason.value) for reason in Reason}
        self._now: Reason | None = None

    def set(self, reason: Reason | None) -> None:
        """1 for ``reason``, 0 for the others; None: it was taken."""
        if reason is self._now:
            return
        if self._now is not None:
            self._children[self._now].set(0)
        if reason is not None:
            self._children[reason].set(1)
        self._now = reason


class NewestPrint:
    """A feed's newest print, which its gauges ask when they are scraped: an update sets none of them."""

    def __init__(self) -> None:
        self._update: PriceUpdate | None = None
        self._received = 0

    def take(self, update: PriceUpdate, received: int) -> None:
        """From now on it is ``update``, received at that instant (µs)."""
        self._update, self._received = update, received

    def publish_timestamp(self) -> float:
        """Unix seconds."""
        return 0.0 if self._update is None else self._update.publish_time

    def received_timestamp(self) -> float:
        """Unix seconds."""
        return self._received / SECOND

    def slot(self) -> float:
        """The print's slot."""
        return 0.0 if self._update is None else self._update.slot

    def price(self) -> float:
        """Quote units."""
        return NAN if self._update is None else self._update.price * 10.0**self._update.exponent

    def confidence_ratio(self) -> float:
        """A fraction of the price."""
        return NAN if self._update is None else self._update.confidence / self._update.price


@dataclass(frozen=True, slots=True)
class FeedMetrics:
    """What is measured of one feed. Timestamps in Unix seconds, the price in quote units."""

    newest: NewestPrint
    state: OneHot
    updates: dict[Source, Number]
    rejected: dict[Reason, Number]
    refused: Refusal
    gaps_open: Number
    gap_rows_healed: Number


@dataclass(frozen=True, slots=True)
class MarketMetrics:
    """What is measured of one market. Prices in quote units, rates per funding interval."""

    state: OneHot
    halted: Number
    mark_price: Number
    mark_index_ratio: Number
    funding_rate: Number
    funding_cap: Number
    funding_interval: Number
    funding_last_boundary: Number
    funding_skipped: Number


@dataclass(frozen=True, slots=True)
class EndpointMetrics:
    """What is measured of one endpoint, known by its name. Durations in seconds, by RPC method."""

    active: Gauge
    subscription_up: Gauge
    request_duration: dict[str, Histogram]
    errors: dict[str, Counter]


@dataclass(frozen=True, slots=True)
class SourceMetrics:
    """What is measured of one endpoint of a source beside the Solana nodes."""

    up: Gauge
    errors: dict[str, Counter]


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """One bounded queue, in items."""

    depth: Gauge
    capacity: Gauge


@dataclass(frozen=True, slots=True)
class TableMetrics:
    """One table, in rows."""

    written: Counter
    duplicate: Counter
    refused: Counter
    dropped: Counter


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """One worker of the daemon."""

    up: Gauge
    restarts: Counter


class Metrics:
    """Every metric there is. A feed is named `market/generation`, an endpoint as in the settings."""

    def __init__(
        self, feeds: Sequence[str], markets: Sequence[str], endpoints: Sequence[str], version: str
    ) -> None:
        self.registry = CollectorRegistry()
        self._register()
        self._info["build_info"].info({"version": version, "python": platform.python_version()})
        self.ingest_lag = {s: self._families["ingest_lag_seconds"].distribution(s.value) for s in Source}
        self.commit_lag: Distribution = self._families["commit_lag_seconds"].distribution()
        self.reconnects: dict[str, Counter] = _Bounded(
            {r: self._counters["subscription_reconnects_total"].labels(r) for r in RECONNECT_REASONS}
        )
        self.spool_rows = self._gauges["spool_rows"]
        self.spool_bytes = self._gauges["spool_bytes"]
        self.spool_oldest_timestamp = self._gauges["spool_oldest_timestamp_seconds"]
        self.spool_oldest_timestamp.set(NAN)
        self.batch_rows = self._histograms["db_batch_rows"]
        self.batch_duration = self._histograms["db_batch_duration_seconds"]
        self.db_up = self._gauges["db_up"]
        self.ready = self._gauges["ready"]
        self.trouble = {code: self._gauges["trouble"].labels(code) for code in CODES}
        self.state_dir_free_bytes = self._gauges["state_dir_free_bytes"]
        self.state_dir_free_bytes.set(NAN)
        self.clock_difference = self._gauges["clock_difference_seconds"]
        self.event_loop_lag = self._gauges["event_loop_lag_seconds"]
        self.event_loop_tasks = self._gauges["event_loop_tasks"]
        self.decode_mismatch = self._counters["decode_mismatch_total"]
        for name in _SPARSE:
            self._families[name].sparse = len(feeds) > MANY_FEEDS
        self._feeds = {name: self._new_feed(name) for name in feeds}
        self._markets = {name: self._new_market(name) for name in markets}
        self._endpoints = {name: self._new_endpoint(name) for name in endpoints}
        self._tables = {name: self._new_table(name) for name in TABLES}
        self._beside: dict[tuple[str, str], SourceMetrics] = {}

    def feed(self, name: str) -> FeedMetrics:
        """The children of one feed, made now where the settings have only just brought it."""
        if name not in self._feeds:
            self._feeds[name] = self._new_feed(name)
        return self._feeds[name]

    def market(self, name: str) -> MarketMetrics:
        """The children of one market, made now where the settings have only just brought it."""
        if name not in self._markets:
            self._markets[name] = self._new_market(name)
        return self._markets[name]

    def forget(self, market: str, feeds: Iterable[str]) -> None:
        """Show nothing more of a market that has left, nor of its feeds."""
        self._markets.pop(market, None)
        for name in feeds:
            self._feeds.pop(name, None)
        for family in self._families.values():
            for subject in (market, *feeds):
                family.forget(subject)

    def endpoint(self, name: str) -> EndpointMetrics:
        """The children of one endpoint, made now where the settings have only just brought it."""
        if name not in self._endpoints:
            self._endpoints[name] = self._new_endpoint(name)
        return self._endpoints[name]

    def beside(self, source: str, endpoint: str) -> SourceMetrics:
        """The children of an endpoint of ``source``, which is no Solana node; made when it is first asked for."""
        if (source, endpoint) not in self._beside:
            errors = self._counters["source_errors_total"]
            self._beside[source, endpoint] = SourceMetrics(
                up=self._gauges["source_up"].labels(source, endpoint),
                errors=_Bounded({kind: errors.labels(source, endpoint, kind) for kind in RPC_ERROR_KINDS}),
            )
        return self._beside[source, endpoint]

    def table(self, name: str) -> TableMetrics:
        """The children of one of ``TABLES``; KeyError for any other."""
        return self._tables[name]

    def queue(self, name: str, capacity: int) -> QueueMetrics:
        """The children of a queue that holds at most ``capacity`` items; asked for once, when it is made."""
        queue = QueueMetrics(
            depth=self._gauges["queue_depth"].labels(name),
            capacity=self._gauges["queue_capacity"].labels(name),
        )
        queue.capacity.set(capacity)
        return queue

    def worker(self, name: str) -> WorkerMetrics:
        """The children of one worker, down until it says otherwise; asked for once, when it is made."""
        return WorkerMetrics(
            up=self._gauges["worker_up"].labels(name),
            restarts=self._counters["worker_restarts_total"].labels(name),
        )

    def render(self) -> bytes:
        """The scrape, in Prometheus' text format (``CONTENT_TYPE``): our own series, then those of the library."""
        own = "".join(f"{line}\n" for family in self._families.values() for line in family.lines())
        return own.encode() + generate_latest(self.registry)

    def _register(self) -> None:
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._info: dict[str, Info] = {}
        self._families: dict[str, Family] = {}
        for spec in METRICS:
            name, type_, labels, text, buckets = spec
            short = name.removeprefix(PREFIX)
            if _is_many_or_hot(spec):
                self._families[short] = Family(spec)
            elif type_ == "gauge":
                self._gauges[short] = Gauge(name, text, labels, registry=self.registry)
            elif type_ == "counter":
                self._counters[short] = Counter(name, text, labels, registry=self.registry)
            elif type_ == "histogram":
                self._histograms[short] = Histogram(
                    name, text, labels, buckets=buckets, registry=self.registry
                )
            else:
                self._info[short] = Info(name.removesuffix("_info"), text, registry=self.registry)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def _new_feed(self, name: str) -> FeedMetrics:
        families, newest = self._families, NewestPrint()
        for family, ask in (
            ("feed_publish_timestamp_seconds", newest.publish_timestamp),
            ("feed_received_timestamp_seconds", newest.received_timestamp),
            ("feed_slot", newest.slot),
            ("feed_price", newest.price),
            ("feed_confidence_ratio", newest.confidence_ratio),
        ):
            families[family].number(name).ask = ask
        return FeedMetrics(
            newest=newest,
            state=OneHot(families["feed_state"], name),
            updates={s: families["updates_total"].number(name, s.value) for s in Source},
            rejected={r: families["rejected_total"].number(name, r.value) for r in Reason},
            refused=Refusal(families["feed_refused"], name),
            gaps_open=families["gaps_open"].number(name),
            gap_rows_healed=families["gap_rows_healed_total"].number(name),
        )

    def _new_market(self, name: str) -> MarketMetrics:
        families = self._families
        market = MarketMetrics(
            state=OneHot(families["market_state"], name),
            halted=families["market_halted"].number(name),
            funding_cap=families["funding_cap_ratio"].number(name),
            funding_interval=families["funding_interval_seconds"].number(name),
            mark_price=families["mark_price"].number(name),
            mark_index_ratio=families["mark_index_ratio"].number(name),
            funding_rate=families["funding_rate_ratio"].number(name),
            funding_last_boundary=families["funding_last_boundary_timestamp_seconds"].number(name),
            funding_skipped=families["funding_skipped_total"].number(name),
        )
        for number in (market.mark_price, market.mark_index_ratio, market.funding_rate, market.funding_cap):
            number.set(NAN)
        return market

    def _new_endpoint(self, name: str) -> EndpointMetrics:
        durations, errors = (
            self._histograms["rpc_request_duration_seconds"],
            self._counters["rpc_errors_total"],
        )
        return EndpointMetrics(
            active=self._gauges["endpoint_active"].labels(name),
            subscription_up=self._gauges["subscription_up"].labels(name),
            request_duration=_Bounded({m: durations.labels(name, m) for m in RPC_METHODS}),
            errors=_Bounded({kind: errors.labels(name, kind) for kind in RPC_ERROR_KINDS}),
        )

    def _new_table(self, name: str) -> TableMetrics:
        return TableMetrics(
            written=self._counters["db_rows_written_total"].labels(name),
            duplicate=self._counters["db_rows_duplicate_total"].labels(name),
            refused=self._counters["db_rows_refused_total"].labels(name),
            dropped=self._counters["db_rows_dropped_total"].labels(name),
        )


def _is_many_or_hot(spec: MetricSpec) -> bool:
    subject = spec.labels[:1]
    return subject in (FEED, MARKET) or spec.name.removeprefix(PREFIX) in _HOT
