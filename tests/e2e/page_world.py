"""What a daemon says to its status page, in states that are made up, with the numbers of a real one."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from quantdesk_oracle.model import Freshness
from quantdesk_oracle.ops.readiness import NotReady, Readiness
from quantdesk_oracle.pricing.quarantine import Agreement
from quantdesk_oracle.workers.status import FundingEstimate, MarketStatus

NOW = 1_795_003_586
"""2026-11-18 12:06:26 UTC."""
HOUR = 3_600
BOUNDARY = (NOW // HOUR + 1) * HOUR
PRICES = {
    "BTC-PERP": Decimal("98595.40891234"),
    "ETH-PERP": Decimal("3614.51100000"),
    "SOL-PERP": Decimal("190.37780000"),
}


def market(symbol: str = "BTC-PERP", **changed: Any) -> MarketStatus:
    """A market that is well, but for what is changed."""
    price = PRICES.get(symbol, PRICES["BTC-PERP"])
    known: dict[str, Any] = {
        "market": symbol,
        "freshness": Freshness.FRESH,
        "price": price,
        "confidence": (price * Decimal("0.00048")).quantize(Decimal("1e-8")),
        "age": 12.0,
        "publish_time": NOW - 12,
        "slot": 447_000_000,
        "feed": f"{symbol}/core_upgraded",
        "mark_price": (price * Decimal("1.000016")).quantize(Decimal("1e-12")),
        "funding_rate": Decimal("0.0000125"),
        "next_funding": float(BOUNDARY - NOW),
        "rejected": None,
        "fresh_limit": 75.0,
        "stale_limit": 180.0,
        "last_funding": BOUNDARY - HOUR,
        "funding_interval": HOUR,
        "funding_cap": Decimal("0.04"),
        "halted": None,
        "funding_estimate": estimate(),
        "second_source": Agreement.AGREES,
        "second_source_age": 2.0,
    }
    return MarketStatus(**{**known, **changed})


def estimate(rate: str | None = "0.000014208333") -> FundingEstimate:
    """Of the interval that runs."""
    premium = None if rate is None else Decimal("0.000112000000")
    return FundingEstimate(NOW - 4.0, BOUNDARY, None if rate is None else Decimal(rate), premium, 553, 3, 720)


def charts(symbol: str, states: str = "f" * 300, parts: str = "p" * 96) -> dict[str, Any]:
    """Five minutes and two days of a market: a random walk of its own."""
    walk, level = random.Random(symbol), float(PRICES.get(symbol, PRICES["BTC-PERP"]))
    prices: list[float | None] = []
    marks: list[float | None] = []
    for state in states:
        level *= 1 + walk.gauss(0, 0.00003)
        used = state in "fs"
        prices.append(level if used else None)
        marks.append(level * (1 + walk.gauss(0.00008, 0.00002)) if used else None)
    return {
        "prices": prices,
        "confidences": [None if price is None else price * 0.0003 for price in prices],
        "marks": marks,
        "states": states,
        "rates": [_rate(walk, BOUNDARY - ago * HOUR) for ago in range(48, 0, -1)],
        "coverage": {"start": BOUNDARY - 24 * HOUR, "end": BOUNDARY, "parts": parts},
    }


def _rate(walk: random.Random, boundary: int) -> dict[str, Any]:
    if boundary == BOUNDARY - 30 * HOUR:
        return {"boundary": boundary, "rate": "0.000000000000", "status": "skipped", "reason": "unhealed"}
    return {
        "boundary": boundary,
        "rate": f"{walk.gauss(0.000008, 0.00001):.12f}",
        "status": "settled",
        "reason": None,
    }


class World:
    """What the page's server says; a test changes it."""

    def __init__(self) -> None:
        self.markets = [market(), market("ETH-PERP"), market("SOL-PERP")]
        self.reasons: tuple[NotReady, ...] = ()
        self.warnings: tuple[NotReady, ...] = ()
        self.states: dict[str, str] = {}
        self.parts = {"BTC-PERP": "p" * 40 + "hh" + "p" * 54}
        self.trouble: str | None = None
        self.events = [event("daemon.started", 3_600, instance="host-1", version="0.1.0")]
        self.events += [
            event("feed.recovered", 3_595, one, feed=f"{one}/core_upgraded", publish_time=NOW - 3_596)
            for one in PRICES
        ]
        self.spool = {"rows": 0, "bytes": 0, "capacity": 1_000_000_000, "oldest": None}
        self.queued, self.gaps = 3, 0
        self.failing: str | None = None
        self.well = self.connected = True
        self.beat = 0.1

    def heartbeat_age(self) -> float:
        return self.beat

    def readiness(self) -> Readiness:
        return Readiness.of(self.reasons, self.warnings)

    def charts(self) -> dict[str, Any]:
        return {
            one.market: charts(
                one.market, self.states.get(one.market, "f" * 300), self.parts.get(one.market, "p" * 96)
            )
            for one in self.markets
        }

    def status(self) -> dict[str, Any]:
        return {
            "version": "0.1.0",
            "instance": "host-1",
            "started": NOW - 3_600.0,
            "now": float(NOW),
            "ready": not self.reasons,
            "reasons": self.reasons,
            "warnings": self.warnings,
            "markets": self.markets,
            "slot": 447_000_000,
            "subscription": {"connected": self.connected},
            "polling": {"failing": self.failing},
            "database": {"trouble": self.trouble},
            "clock_difference": 0.001,
            "endpoints": [
                endpoint("helius", active=self.well, well=self.well),
                endpoint(
                    "mainnet-beta", active=not self.well, well=True, slot=446_999_998, latency_seconds=0.21
                ),
            ],
            "spool": self.spool,
            "queues": {"oracle_prices": self.queued, "mark_prices": 0, "system_events": 0},
            "gaps": self.gaps,
            "instances": [{"id": "host-1", "state": "running", "ready": not self.reasons, "seen_age": 2.0}],
            "events": self.events,
            "rows": {
                "oracle_prices": 12_345,
                "mark_prices": 10_800,
                "premium_samples": 2_157,
                "funding_rates": 3,
            },
            "updates": 12_348,
            "duplicates": 99,
            "rejected": {},
            "reconnects": 0,
        }


def endpoint(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name, "active": False, "well": True, "slot": 447_000_000, "latency_seconds": 0.062, "error_rate": 0.0,
        **changed,
    }  # fmt: skip


def event(
    kind: str, ago: float, symbol: str | None = None, *, severity: str = "info", **data: Any
) -> dict[str, Any]:
    """An event of so many seconds ago."""
    return {
        "type": kind, "severity": severity, "instant": round((NOW - ago) * 1e6), "market": symbol, "data": data,
    }  # fmt: skip


def make_stale(world: World) -> None:
    world.markets[1] = market(
        "ETH-PERP",
        freshness=Freshness.STALE,
        age=120.0,
        second_source=Agreement.SILENT,
        second_source_age=95.0,
    )
    world.states["ETH-PERP"] = "f" * 240 + "s" * 60
    world.well, world.gaps = False, 1
    world.parts["ETH-PERP"] = "p" * 90 + "oo" + "p" * 4
    world.events.append(
        event("feed.stale", 45, "ETH-PERP", severity="warning", age_seconds=75, feed="ETH-PERP/core_upgraded")
    )


def make_dead(world: World) -> None:
    world.markets[0] = market(
        freshness=Freshness.DEAD,
        age=600.0,
        mark_price=None,
        rejected="wrong_owner",
        funding_estimate=estimate(None),
    )
    sentence = "BTC-PERP has no mark: its newest print is 600 s old. Its account is refused: wrong_owner."
    world.reasons = (NotReady("oracle_dead", "BTC-PERP", sentence),)
    world.states["BTC-PERP"] = "f" * 120 + "s" * 60 + "d" * 120
    world.parts["BTC-PERP"] = "p" * 40 + "u" * 5 + "e" * 10 + "p" * 40 + "o"
    world.events.append(
        event(
            "feed.dead",
            420,
            "BTC-PERP",
            severity="error",
            feed="BTC-PERP/core_upgraded",
            age_seconds=180,
            reason="wrong_owner",
        )
    )


def make_database_down(world: World) -> None:
    world.trouble = (
        "cannot connect to postgresql://quantdesk_oracle:***@db.example/quantdesk: ConnectionRefusedError"
    )
    world.reasons = (NotReady("database", None, f"The database refuses: {world.trouble}"),)
    world.spool = {"rows": 4_711, "bytes": 2_204_311, "capacity": 1_000_000_000, "oldest": NOW - 754.0}
    world.queued = 212
    world.events.append(event("database.lost", 754, severity="error", reason="away", cause=world.trouble))


def make_warned(world: World) -> None:
    sentence = "No websocket stands, so that prices come by polling alone, later and dearer: refused"
    world.connected, world.warnings = False, (NotReady("websocket_down", None, sentence),)


STATES: dict[str, Callable[[World], None]] = {
    "healthy": lambda _: None,
    "warned": make_warned,
    "stale": make_stale,
    "dead": make_dead,
    "database-down": make_database_down,
}
