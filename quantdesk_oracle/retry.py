"""The one way to try again: exponential backoff with jitter, for as long as it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_never,
    wait_exponential,
    wait_random,
)

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock

STABLE_SECONDS = 60.0
"""What has held for this long starts anew with the shortest wait."""


def until_it_works(
    clock: Clock,
    errors: type[Exception] | tuple[type[Exception], ...],
    *,
    on_failure: Callable[[BaseException, float], None],
    first: float = 0.25,
    longest: float = 30.0,
) -> AsyncRetrying:
    """Attempts without end, for ``async for attempt in …: with attempt: …``.

    ``on_failure`` is told the error and the seconds until the next attempt. A ``retry_after`` that the error
    carries (seconds) is waited for at least.
    """
    backoff = wait_exponential(multiplier=first) + wait_random(0, first)

    def wait(state: RetryCallState) -> float:
        asked = getattr(_error(state), "retry_after", None)
        return max(min(backoff(state), longest), asked or 0.0)

    def before_sleep(state: RetryCallState) -> None:
        error = _error(state)
        assert error is not None
        on_failure(error, state.upcoming_sleep)

    return AsyncRetrying(
        sleep=clock.sleep,
        wait=wait,
        stop=stop_never,
        retry=retry_if_exception_type(errors),
        before_sleep=before_sleep,
        reraise=True,
    )


def start_over(state: RetryCallState) -> None:
    """Make the next wait the shortest: what failed now had worked for long."""
    state.attempt_number = 1


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
