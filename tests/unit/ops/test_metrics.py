"""The registry of metrics: what a scrape shows from its first second on."""

from __future__ import annotations

import importlib
import math

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from quantdesk_oracle import errors
from quantdesk_oracle.model import Freshness, PriceUpdate, Reason, Source
from quantdesk_oracle.ops.metric_table import METRICS, PREFIX
from quantdesk_oracle.ops.metrics import MANY_FEEDS, OTHER, RPC_ERROR_KINDS, Metrics, described
from tests.scrape import scraped

FEED = "BTC-PERP/core_upgraded"

# The list of the specification, typed a second time: a renamed metric breaks somebody's dashboard.
NAMES = [
    "build_info",
    "feed_publish_timestamp_seconds",
    "feed_received_timestamp_seconds",
    "feed_slot",
    "feed_price",
    "feed_confidence_ratio",
    "feed_state",
    "updates_total",
    "rejected_total",
    "feed_refused",
    "ingest_lag_seconds",
    "commit_lag_seconds",
    "rpc_request_duration_seconds",
    "rpc_errors_total",
    "subscription_up",
    "subscription_reconnects_total",
    "endpoint_active",
    "source_up",
    "source_errors_total",
    "queue_depth",
    "queue_capacity",
    "spool_rows",
    "spool_bytes",
    "spool_oldest_timestamp_seconds",
    "db_batch_rows",
    "db_batch_duration_seconds",
    "db_rows_written_total",
    "db_rows_duplicate_total",
    "db_rows_refused_total",
    "db_rows_dropped_total",
    "db_up",
    "ready",
    "trouble",
    "market_state",
    "market_halted",
    "mark_price",
    "mark_index_ratio",
    "funding_rate_ratio",
    "funding_last_boundary_timestamp_seconds",
    "funding_cap_ratio",
    "funding_interval_seconds",
    "funding_skipped_total",
    "state_dir_free_bytes",
    "gaps_open",
    "gap_rows_healed_total",
    "clock_difference_seconds",
    "worker_up",
    "worker_restarts_total",
    "event_loop_lag_seconds",
    "event_loop_tasks",
    "decode_mismatch_total",
]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics([FEED], ["BTC-PERP"], ["primary"], "1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scraped(metrics, PREFIX + name, **labels)


def test_the_table_has_every_metric_of_the_specification_and_no_other() -> None:
    assert [spec.name for spec in METRICS] == [PREFIX + name for name in NAMES]


def test_total_ends_the_names_of_counters_and_of_nothing_else() -> None:
    assert {s.name for s in METRICS if s.type == "counter"} == {
        s.name for s in METRICS if s.name.endswith("_total")
    }


def test_every_help_sentence_ends_with_its_unit() -> None:
    without = [s.name for s in METRICS if not s.help.endswith(").") or "(" not in s.help]
    assert without == []


def test_no_label_can_hold_a_key_a_slot_or_a_url() -> None:
    labels = {label for spec in METRICS for label in spec.labels}
    assert labels <= {
        "version", "python", "feed", "state", "source", "reason", "endpoint", "method", "kind",
        "queue", "table", "market", "worker", "code",
    }  # fmt: skip


def test_every_series_of_a_feed_is_there_before_its_first_print(metrics: Metrics) -> None:
    assert all(value(metrics, "updates_total", feed=FEED, source=s.value) == 0 for s in Source)
    assert all(value(metrics, "rejected_total", feed=FEED, reason=r.value) == 0 for r in Reason)
    assert value(metrics, "feed_publish_timestamp_seconds", feed=FEED) == 0
    assert value(metrics, "feed_state", feed=FEED, state="unproven") == 1
    assert math.isnan(value(metrics, "feed_price", feed=FEED) or 0)


def test_every_described_metric_is_in_the_scrape_with_its_labels_and_type(metrics: Metrics) -> None:
    metrics.queue("prints", 500)
    metrics.worker("ingest")
    metrics.beside("hermes", "hermes.pyth.network")
    scraped = {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}
    for spec in described():
        family = scraped[spec.name.removesuffix("_total")]
        assert family.documentation == spec.help
        assert family.type == ("gauge" if spec.type == "info" else spec.type)
        assert family.samples, spec.name
        assert {label for s in family.samples for label in s.labels} - {"le"} == set(spec.labels)


def test_the_scrape_also_tells_of_the_process_and_of_no_creation_times(metrics: Metrics) -> None:
    text = metrics.render().decode()
    for name in ("process_resident_memory_bytes", "python_info", "python_gc_collections_total"):
        assert f"\n{name}" in text
    assert "_created" not in text


def test_nothing_of_ours_enters_the_registry_that_all_of_the_process_shares(metrics: Metrics) -> None:
    assert not [f.name for f in REGISTRY.collect() if f.name.startswith(PREFIX)]
    other = Metrics([FEED], [], [], "1.2.3")
    metrics.feed(FEED).updates[Source.POLL].inc()
    assert value(other, "updates_total", feed=FEED, source="poll") == 0


def test_children_of_a_feed_count_on_their_own_series(metrics: Metrics) -> None:
    feed = metrics.feed(FEED)
    feed.updates[Source.SUBSCRIPTION].inc()
    feed.rejected[Reason.UNCERTAIN].inc(2)
    feed.newest.take(
        PriceUpdate(bytes(32), 6_500_050, 650_005, -2, 1_700_000_000, 0, 0, 0, 42), 1_700_000_000_500_000
    )
    assert value(metrics, "updates_total", feed=FEED, source="subscription") == 1
    assert value(metrics, "updates_total", feed=FEED, source="poll") == 0
    assert value(metrics, "rejected_total", feed=FEED, reason="uncertain") == 2
    assert value(metrics, "feed_price", feed=FEED) == 65_000.5
    assert value(metrics, "feed_confidence_ratio", feed=FEED) == 0.1
    assert value(metrics, "feed_publish_timestamp_seconds", feed=FEED) == 1_700_000_000
    assert value(metrics, "feed_received_timestamp_seconds", feed=FEED) == 1_700_000_000.5
    assert value(metrics, "feed_slot", feed=FEED) == 42


def test_a_feed_is_in_exactly_one_state(metrics: Metrics) -> None:
    for state in (Freshness.FRESH, Freshness.DEAD, Freshness.STALE):
        metrics.feed(FEED).state.set(state)
        ones = [f for f in Freshness if value(metrics, "feed_state", feed=FEED, state=f.value) == 1]
        assert ones == [state]


def test_a_feed_is_refused_for_one_reason_or_for_none(metrics: Metrics) -> None:
    def reasons() -> list[Reason]:
        return [r for r in Reason if value(metrics, "feed_refused", feed=FEED, reason=r.value) == 1]

    for reason in (Reason.WRONG_OWNER, Reason.UNCERTAIN):
        metrics.feed(FEED).refused.set(reason)
        assert reasons() == [reason]
    metrics.feed(FEED).refused.set(None)
    assert reasons() == []


def test_a_feed_that_the_settings_brought_later_gets_its_series_once(metrics: Metrics) -> None:
    late = metrics.feed("SOL-PERP/core")
    assert metrics.feed("SOL-PERP/core") is late
    assert value(metrics, "updates_total", feed="SOL-PERP/core", source="poll") == 0
    assert metrics.market("SOL-PERP") is metrics.market("SOL-PERP")
    assert metrics.endpoint("backup") is metrics.endpoint("backup")


def test_of_many_feeds_only_what_has_happened_is_counted_in_the_scrape() -> None:
    metrics = Metrics([f"F{number}/core" for number in range(MANY_FEEDS + 1)], [], [], "1.2.3")
    metrics.feed("F7/core").rejected[Reason.UNCERTAIN].inc()
    assert value(metrics, "rejected_total", feed="F7/core", reason="uncertain") == 1
    assert value(metrics, "rejected_total", feed="F7/core", reason="future") is None
    assert value(metrics, "feed_slot", feed="F8/core") == 0


def test_label_values_are_escaped() -> None:
    name = 'a "b"\\c\n/core'
    metrics = Metrics([name], [], [], "1.2.3")
    assert value(metrics, "feed_slot", feed=name) == 0


def test_what_nobody_foresaw_is_counted_as_other(metrics: Metrics) -> None:
    metrics.endpoint("primary").errors["a kind made up by a node"].inc()
    metrics.endpoint("primary").request_duration["getNovelty"].observe(0.1)
    metrics.reconnects["moonrise"].inc()
    assert value(metrics, "rpc_errors_total", endpoint="primary", kind=OTHER) == 1
    assert value(metrics, "rpc_request_duration_seconds_count", endpoint="primary", method=OTHER) == 1
    assert value(metrics, "subscription_reconnects_total", reason=OTHER) == 1


def test_every_kind_of_node_error_has_its_label() -> None:
    # Those that the sources raise among themselves, too.
    importlib.import_module("quantdesk_oracle.sources.rpc")
    importlib.import_module("quantdesk_oracle.sources.subscription")

    def tree(cls: type[errors.NodeError]) -> set[str]:
        ours = cls.__module__.startswith("quantdesk_oracle.")
        return ({cls.kind} if ours else set()).union(*(tree(sub) for sub in cls.__subclasses__()))

    assert tree(errors.NodeError) - set(RPC_ERROR_KINDS) == set()


def test_lag_is_told_apart_around_the_slot_of_400_milliseconds(metrics: Metrics) -> None:
    metrics.ingest_lag[Source.SUBSCRIPTION].observe(0.39)
    buckets = {
        le: value(metrics, "ingest_lag_seconds_bucket", source="subscription", le=le)
        for le in ("0.2", "0.4", "60.0", "+Inf")
    }
    assert buckets == {"0.2": 0, "0.4": 1, "60.0": 1, "+Inf": 1}


def test_a_table_that_is_not_ours_has_no_counters(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.table("users")
