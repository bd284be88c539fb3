"""The endpoints of a network, how each is doing, and which one is in use.

What an endpoint says of its own slot is a claim. It counts once another endpoint says as much, or once some
endpoint holds a print that was posted so late: an account's bytes show how far the chain really was. One that is
far ahead of all others and holds no newer print does not win, and one that claims to be past a print that it
does not hold is behind, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config.settings import EndpointSettings

log = structlog.get_logger("sources.endpoints")
BEHIND: Final = 50
"""Slots (20 s) behind the best at which an endpoint is left."""
UNSUPPORTED: Final = 150
"""Slots by which a claim may be ahead of everything else that is known, and still be believed."""
HOLDS_WITHIN: Final = 25
"""Slots within which an endpoint must hold a print that another one holds."""
FAILING: Final = 0.5
"""Share of failed requests at which an endpoint is left; a single failure in a row of successes is 0.3."""
RETURN_AFTER: Final = 30 * SECOND
"""How long a preferred endpoint must have been well before it is used again, µs."""
_SMOOTHING: Final = 0.3


@dataclass(slots=True)
class Health:
    """What is known of one endpoint."""

    slot: int | None = None
    """Its newest claim."""
    posted: Mapping[str, int] = field(default_factory=dict)
    """Account to the slot in which the print was posted that the endpoint holds."""
    error_rate: float = 0.0
    """Smoothed share of failed requests."""
    latency: float | None = None
    """Smoothed seconds of a request."""
    usable: bool = True
    """False while it serves another cluster."""
    lag: int = 0
    """Slots behind what is known of the chain; of a claim that nothing supports, how far it is ahead."""
    well_since: int | None = None
    """µs; None while it is not well."""

    @property
    def well(self) -> bool:
        """Whether it may be used while there is a choice."""
        return self.usable and self.error_rate < FAILING and self.lag < BEHIND

    def succeeded(self, seconds: float) -> None:
        self.error_rate *= 1 - _SMOOTHING
        self.latency = (
            seconds if self.latency is None else self.latency + _SMOOTHING * (seconds - self.latency)
        )

    def failed(self) -> None:
        self.error_rate += _SMOOTHING * (1 - self.error_rate)


def known_slot(healths: Sequence[Health]) -> int:
    """How far the chain is, by everything that is supported by more than one endpoint's word."""
    claims = sorted((health.slot for health in healths if health.slot is not None), reverse=True)
    held = max((slot for health in healths for slot in health.posted.values()), default=0)
    if not claims:
        return held
    for claim, next_claim in zip(claims, [*claims[1:], 0], strict=True):
        alone = len(claims) == 1
        if alone or claim - next_claim <= UNSUPPORTED or claim - held <= UNSUPPORTED:
            return max(claim, held)
    return max(claims[-1], held)


def lag_of(health: Health, healths: Sequence[Health], known: int) -> int:
    """Slots by which an endpoint is behind, or by which its claim is ahead of what anything supports."""
    if health.slot is None:
        return 0
    lag = max(known - health.slot, 0)
    if health.slot - known > UNSUPPORTED:
        lag = health.slot - known
    for other in healths:
        for account, posted in other.posted.items():
            held = health.posted.get(account)
            if held is not None and held < posted <= health.slot - HOLDS_WITHIN:
                lag = max(lag, health.slot - posted)
    return lag


class Endpoints:
    """Which of the endpoints is in use: the heaviest that is well, and the next one where it is not."""

    def __init__(
        self,
        settings: Sequence[EndpointSettings],
        clock: Clock,
        on_change: Callable[[str, str, str], None] = lambda _old, _new, _why: None,
    ) -> None:
        self.settings = tuple(settings)
        self.healths = tuple(Health() for _ in settings)
        self.names = tuple(one.name for one in settings)
        self._clock = clock
        self.on_change = on_change
        """Told (old, new, why) when another endpoint comes into use."""
        # By weight, and as they were written down.
        self._order = sorted(range(len(settings)), key=lambda at: (-settings[at].weight, at))
        self.active = self._order[0]
        """The position of the endpoint in use."""

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def active_name(self) -> str:
        return self.names[self.active]

    def follower(self, rank: int) -> int:
        """The endpoint for the subscription number ``rank``: the one in use, then the best of the others."""
        others = sorted(
            (at for at in self._order if at != self.active),
            key=lambda at: (not self.healths[at].well, self._order.index(at)),
        )
        return [self.active, *others][rank % len(self)]

    def fail_over(self, why: str) -> None:
        """Leave the endpoint in use for the best of the others; where there is no other, stay."""
        if len(self) > 1:
            self.healths[self.active].well_since = None
            self._use(self.follower(1), why)

    def review(self) -> None:
        """Look at every endpoint's health, and change over where that is called for."""
        now = self._clock.now()
        known = known_slot(self.healths)
        for health in self.healths:
            health.lag = lag_of(health, self.healths, known)
            if not health.well or health.slot is None:
                health.well_since = None
            elif health.well_since is None:
                health.well_since = now
        if not self.healths[self.active].well:
            better = self.follower(1)
            if len(self) > 1 and self.healths[better].well:
                self._use(better, self._trouble(self.active))
            return
        for at in self._order:
            since = self.healths[at].well_since
            if at == self.active or self.settings[at].weight <= self.settings[self.active].weight:
                break
            if since is not None and now - since >= RETURN_AFTER:
                self._use(at, f"{self.names[at]} is well again")
                break

    def _trouble(self, at: int) -> str:
        health, name = self.healths[at], self.names[at]
        if not health.usable:
            return f"{name} serves another cluster"
        if health.lag >= BEHIND:
            return f"{name} is {health.lag} slots away from the chain"
        return f"{name} fails {health.error_rate:.0%} of its requests"

    def _use(self, at: int, why: str) -> None:
        old, self.active = self.active_name, at
        if old != self.active_name:
            log.warning("endpoint.changed", old=old, endpoint=self.active_name, cause=why)
            self.on_change(old, self.active_name, why)
