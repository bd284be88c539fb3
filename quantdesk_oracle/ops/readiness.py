"""Why a daemon is not ready, and what it warns of: stable codes, each with a line in docs/errors.md.

A reason takes readiness away: a market has no marks, or nothing reaches the database. A warning does not: all
markets are served, and a person should know all the same. Both are told by /readyz, and counted in a gauge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LOOP_STALLED: Final = "loop_stalled"
DATABASE_KINDS: Final = (
    "unreachable",
    "timeout",
    "conflict",
    "overloaded",
    "disk_full",
    "read_only",
    "missing",
    "forbidden",
    "credentials",
    "tls",
    "pooler",
    "other",
)
"""What may be the matter with a database: store.faults.Kind."""
NODE_KINDS: Final = ("unreachable", "rate_limited", "behind", "protocol", "wrong_cluster")
HERMES_KINDS: Final = ("unreachable", "rate_limited", "protocol", "unauthorized", "nothing")
CODES: Final = (
    "starting",
    LOOP_STALLED,
    "oracle_unproven",
    "oracle_dead",
    "book_unreadable",
    "clock_skewed",
    *(f"database_{kind}" for kind in DATABASE_KINDS),
    *(f"node_{kind}" for kind in NODE_KINDS),
    *(f"hermes_{kind}" for kind in HERMES_KINDS),
    "oracle_wide",
    "websocket_down",
    "disk_full",
)
"""Every code there is."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """One reason or warning: a stable code, the market it concerns (None: all), a sentence, numbers."""

    code: str
    market: str | None
    sentence: str
    details: Mapping[str, object] = field(default_factory=dict)


class Readiness(NamedTuple):
    """Whether marks and funding can be computed for every market, if not, why, and what is not well besides."""

    ready: bool
    reasons: tuple[NotReady, ...] = ()
    warnings: tuple[NotReady, ...] = ()

    @classmethod
    def of(cls, reasons: tuple[NotReady, ...], warnings: tuple[NotReady, ...] = ()) -> Readiness:
        """Ready if there is no reason not to be."""
        return cls(not reasons, reasons, warnings)

    @property
    def counts(self) -> Counter[str]:
        """How many reasons and warnings there are of each code."""
        return Counter(each.code for each in (*self.reasons, *self.warnings))


def code_of(area: str, kind: str | None) -> str:
    """The code of ``kind`` of trouble with ``area``; a kind that is none of the area's is its vaguest one."""
    code = f"{area}_{kind}"
    if code in CODES:
        return code
    return f"{area}_other" if area == "database" else f"{area}_unreachable"
