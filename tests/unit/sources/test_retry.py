"""Trying again: the waits grow, have a limit, heed what was asked for, and start over after a stable minute."""

from __future__ import annotations

import pytest

from quantdesk_oracle.errors import NodeError, RateLimitedError
from quantdesk_oracle.retry import start_over, until_it_works


class _Waits:
    """A clock that notes the waits and never waits."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def now(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    async def sleep_until(self, instant: int) -> None: ...


async def _waits_of(*failures: Exception | None, stable_after: int | None = None) -> list[float]:
    """The waits after each failure, until None."""
    clock, left = _Waits(), list(failures)
    async for attempt in until_it_works(clock, NodeError, on_failure=lambda _error, _wait: None):
        with attempt:
            if stable_after is not None and len(failures) - len(left) == stable_after:
                start_over(attempt.retry_state)
            failure = left.pop(0)
            if failure is not None:
                raise failure
    return clock.seconds


async def test_the_waits_double_with_a_jitter_and_end_at_the_longest() -> None:
    waits = await _waits_of(*[NodeError("away")] * 12, None)
    for number, wait in enumerate(waits):
        exact = 0.25 * 2**number
        assert min(exact, 30.0) <= wait <= min(exact + 0.25, 30.0)
    assert waits[-1] == 30.0


async def test_a_thousand_failures_wait_no_longer_than_the_longest() -> None:
    assert max(await _waits_of(*[NodeError("away")] * 1_100, None)) == 30.0


async def test_two_clients_do_not_come_back_at_the_same_moment() -> None:
    waits = [tuple(await _waits_of(*[NodeError("away")] * 3, None)) for _ in range(20)]
    assert len(set(waits)) == 20


async def test_what_was_asked_for_is_waited_for_at_least() -> None:
    waits = await _waits_of(RateLimitedError("slow", 41.0), RateLimitedError("slow", 0.0), None)
    assert waits[0] == 41.0
    assert 0.5 <= waits[1] <= 0.75


async def test_what_had_worked_for_long_starts_with_the_shortest_wait() -> None:
    waits = await _waits_of(*[NodeError("away")] * 8, None, stable_after=5)
    assert waits[4] >= 4.0
    assert waits[5] <= 0.5
    assert waits[6] <= 0.75


async def test_other_errors_are_not_retried() -> None:
    with pytest.raises(ZeroDivisionError):
        await _waits_of(NodeError("away"), ZeroDivisionError())
