"""What each part adds to the daemon's snapshot of itself, /status: endpoints, spool, gaps, last events."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from quantdesk_oracle import __version__
from quantdesk_oracle.model import SECOND, Event

if TYPE_CHECKING:
    from quantdesk_oracle.assembly import Parts, World
    from quantdesk_oracle.ops.instance import Instance
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.ops.readiness import Readiness
    from quantdesk_oracle.workers.status import MarketStatus


def tell_more(parts: Parts, world: World, instance: Instance) -> None:
    """Let the snapshot hold what the parts have to say. Each is asked on the loop, once a second."""
    status = parts.status
    status.about = {
        "version": __version__,
        "instance": instance.id,
        "started": instance.started / SECOND,
    }
    status.on_market = partial(_measure_market, world.metrics)
    status.on_refresh = partial(_measure, world.metrics)
    status.more = {
        "endpoints": lambda: _endpoints(world),
        "hermes": lambda: _hermes(parts),
        "gaps": lambda: _open_gaps(parts),
        "spool": lambda: _spool(world),
        "queues": lambda: _queues(parts),
        "events": lambda: [_event(event) for event in parts.journal.recent],
    }


def _measure(metrics: Metrics, readiness: Readiness, clock_difference: float) -> None:
    metrics.ready.set(readiness.ready)
    counts = readiness.counts
    for code, gauge in metrics.trouble.items():
        gauge.set(counts[code])
    metrics.clock_difference.set(clock_difference)


def _measure_market(metrics: Metrics, market: MarketStatus) -> None:
    measured = metrics.market(market.market)
    measured.state.set(market.freshness)
    measured.halted.set(market.halted is not None)
    measured.funding_cap.set(float(market.funding_cap))
    measured.funding_interval.set(market.funding_interval)


def _endpoints(world: World) -> list[dict[str, Any]]:
    endpoints = world.client.endpoints
    return [
        {
            "name": name,
            "active": name == endpoints.active_name,
            "well": health.well,
            "slot": health.slot,
            "latency_seconds": health.latency,
            "error_rate": health.error_rate,
        }
        for name, health in zip(endpoints.names, endpoints.healths, strict=True)
    ]


def _hermes(parts: Parts) -> list[dict[str, Any]]:
    return [
        {
            "endpoint": stream.endpoint,
            "connected": stream.connected,
            "failing": stream.failing,
            "silent_feeds": [feed_id.hex() for feed_id in sorted(stream.silent)],
        }
        for stream in parts.hermes.streams.streams
    ]


def _open_gaps(parts: Parts) -> int:
    # Asked for anew each time: healing counts into a new one.
    on_hermes = parts.hermes.healing
    return parts.healing.open_gaps.total() + (on_hermes.open_gaps.total() if on_hermes is not None else 0)


def _spool(world: World) -> dict[str, Any]:
    backlog, capacity = world.backlog, world.settings.database.spool_bytes
    if backlog is None:
        return {"rows": 0, "bytes": 0, "capacity": capacity, "oldest": None}
    oldest = backlog.oldest_instant
    return {
        "rows": backlog.rows,
        "bytes": backlog.bytes,
        "capacity": capacity,
        "oldest": None if oldest is None else oldest / SECOND,
    }


def _queues(parts: Parts) -> dict[str, int]:
    """Rows in memory that wait to be written, by table."""
    return {writer.table: writer.waiting for writer in parts.writers.values()}


def _event(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "severity": event.severity,
        "instant": event.instant,
        "market": event.market,
        "data": event.data,
    }
