"""Messages on their way out: sent now, or when the faults let them through."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet.faults.kinds import Kind
from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.localnet.faults.armed import Armed
    from quantdesk_oracle.localnet.faults.later import Later

    Hits = Callable[[Kind], Iterable[Armed]]
    """The acting faults of a kind that hit a message: each call throws their dice."""

MOST_HELD: Final = 50_000
"""Messages that one fault holds back at once."""


class Outbox:
    """Holds back what behind, stall, reorder and delay hold back, in that order of precedence."""

    def __init__(self, clock: Clock, later: Later, slot_us: int) -> None:
        self._clock = clock
        self._later = later
        self._slot_us = slot_us

    def send(
        self,
        deliver: Callable[[], None],
        overflow: Callable[[], None],
        hits: Hits,
    ) -> None:
        """Call ``deliver`` now or later; ``overflow`` where too much is held back already."""
        now = self._clock.now()
        if self._later.full:
            overflow()
            return
        for armed in hits(Kind.BEHIND):
            lag = armed.fault.settings["slots"] * self._slot_us
            self._later.at(now + lag, partial(_let_go, armed, deliver))
            _hold(armed, deliver, overflow)
            return
        for armed in hits(Kind.STALL):
            _hold(armed, deliver, overflow)
            return
        for armed in hits(Kind.REORDER):
            if not armed.held:
                within = round(armed.fault.settings["within"] * SECOND)
                self._later.at(now + within, partial(_let_go_shuffled, armed, deliver))
            _hold(armed, deliver, overflow)
            return
        for armed in hits(Kind.DELAY):
            self._later.at(now + delay_of(armed), deliver)
            return
        deliver()


def delay_of(armed: Armed) -> int:
    """How long a delay lets this one wait, µs."""
    settings = armed.fault.settings
    seconds: float = settings["by"] + settings["jitter"] * armed.random.random()
    return round(seconds * SECOND)


def _hold(armed: Armed, deliver: Callable[[], None], overflow: Callable[[], None]) -> None:
    if len(armed.held) < MOST_HELD:
        armed.held.append(deliver)
    else:
        overflow()


def _let_go(armed: Armed, deliver: Callable[[], None]) -> None:
    """Send the oldest that is held: ``deliver``, unless the fault has ended since."""
    if armed.held and armed.held[0] is deliver:
        armed.held.popleft()()


def _let_go_shuffled(armed: Armed, first: Callable[[], None]) -> None:
    """Send what has been held since ``first`` in some other order."""
    if not armed.held or armed.held[0] is not first:
        return
    held = list(armed.held)
    armed.held.clear()
    armed.random.shuffle(held)
    for deliver in held:
        deliver()
