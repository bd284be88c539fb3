"""The one way to try again: exponential backoff with jitter, for as long as it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_never,
    wait_exponential,
    wait_random,
)

from quantdesk_oracle.errors import UnavailableError

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock

log = structlog.get_logger("retry")
_T = TypeVar("_T")
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


class Patience:
    """Calls that are tried again for as long as the other side is away, or asks for patience; each is counted."""

    def __init__(self, clock: Clock, final: tuple[type[Exception], ...]) -> None:
        """``final``: what no waiting helps against; it is raised at once."""
        self._clock = clock
        self._final = final
        self.retries = 0

    async def __call__(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What ``call`` gives, once it is to be had."""
        async for attempt in until_it_works(self._clock, _AwayError, on_failure=self._failed):
            with attempt:
                try:
                    return await call()
                except self._final:
                    raise
                except UnavailableError as error:
                    raise _AwayError(error) from error
        raise AssertionError("retrying ends only with a result")

    def _failed(self, error: BaseException, wait: float) -> None:
        self.retries += 1
        log.info("request.retried", cause=str(error), retry_in=round(wait, 2))


class _AwayError(UnavailableError):
    """Somebody is away, or asks for patience; the same request will do later."""

    def __init__(self, error: UnavailableError) -> None:
        self.retry_after = getattr(error, "retry_after", None)
        super().__init__(str(error))
