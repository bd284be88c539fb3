"""Which of several daemons this one is, and since when it runs."""

from __future__ import annotations

import re
import secrets
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock

MAX_HOST = 63


class Instance(NamedTuple):
    """One run of the daemon. ``id`` is the host and eight random hex digits, ``started`` an instant (µs)."""

    id: str
    host: str
    started: int

    @classmethod
    def begin(cls, clock: Clock) -> Instance:
        """This process, from now on."""
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:MAX_HOST] or "unknown"
        return cls(f"{host}-{secrets.token_hex(4)}", host, clock.now())

    def uptime(self, now: int) -> float:
        """Seconds since the start; never negative, even where the clock was set back."""
        return max(0, now - self.started) / 1_000_000
