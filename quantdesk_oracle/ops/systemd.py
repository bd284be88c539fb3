"""What systemd is told: ready, stopping, a status line, and a watchdog that is fed while the loop moves.

The protocol of sd_notify(3): a datagram of ``KEY=value`` lines to the unix socket that ``NOTIFY_SOCKET`` names.
Where nobody listens, nothing happens. The environment is handed in: these variables are systemd's, not settings.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from quantdesk_oracle.ops.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.heartbeat import Heartbeat

log = get_logger(__name__)

MAX_STATUS = 300
"""Characters of a status line."""
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f]+")


class Notifier:
    """Tells systemd. Each method returns whether a socket took the message; none raises, none waits."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))

    def ready(self, status: str = "") -> bool:
        """Started, or done with rereading the settings."""
        return self._send("READY=1", *_status(status))

    def reloading(self, monotonic: int) -> bool:
        """Rereading the settings; ``monotonic``: CLOCK_MONOTONIC, µs. ``ready`` ends it."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic}")

    def stopping(self, status: str = "") -> bool:
        """On the way out."""
        return self._send("STOPPING=1", *_status(status))

    def status(self, status: str) -> bool:
        """The line that `systemctl status` shows."""
        return self._send(*_status(status))

    def watchdog(self) -> bool:
        """Still well."""
        return self._send("WATCHDOG=1")

    def _send(self, *fields: str) -> bool:
        if self._address is None or not fields:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as unix:
                unix.sendto("\n".join(fields).encode(), self._address)
        except OSError as error:
            log.warning("systemd.not_told", reason=str(error))
            return False
        return True


class Watchdog:
    """Feeds systemd's watchdog twice in each of its intervals, while the heartbeat is younger than ``limit`` s."""

    def __init__(
        self, notifier: Notifier, heartbeat: Heartbeat, clock: Clock, *, interval: float, limit: float
    ) -> None:
        self._notifier, self._heartbeat, self._clock = notifier, heartbeat, clock
        self._interval, self._limit = interval, limit

    def feed(self) -> bool:
        """Feed it if the loop is well; returns whether it was fed."""
        age = self._heartbeat.age()
        if age >= self._limit:
            log.warning("watchdog.not_fed", age_seconds=round(age, 3), limit_seconds=self._limit)
            return False
        return self._notifier.watchdog()

    async def run(self) -> None:
        """Feed it until cancelled."""
        while True:
            self.feed()
            await self._clock.sleep(self._interval / 2)


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which systemd wants to hear from process ``pid``; None where it does not, or says nonsense."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        return None
    return int(text) / 1_000_000


def _address(name: str) -> str | None:
    """A path, or a name of the abstract namespace, which is written with an @ for its zero byte."""
    if name.startswith("/"):
        return name
    return "\0" + name[1:] if name.startswith("@") and len(name) > 1 else None


def _status(text: str) -> list[str]:
    # A line break would begin another field.
    line = _LINE_BREAKS.sub(" ", text).strip()[:MAX_STATUS]
    return [f"STATUS={line}"] if line else []
