"""The one loop of all live sources: deliver until it ends, tell, wait, deliver again.

A source knows how to deliver and what to say when that has ended; when to try again is decided here, for all alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from quantdesk_oracle.errors import NodeError
from quantdesk_oracle.retry import start_over, until_it_works

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock


class LiveSource(Protocol):
    """Where observations come from as they are made."""

    async def deliver(self) -> None:
        """Hand whatever comes to the sink, for as long as it comes. Ends with a NodeError, always."""

    def lost(self, error: NodeError, wait: float) -> None:
        """Delivering has ended with ``error`` and begins anew in ``wait`` seconds."""

    @property
    def had_worked(self) -> bool:
        """Whether what has just ended had worked, so that the next attempt need not wait for longer than the first."""


async def follow(source: LiveSource, clock: Clock) -> None:
    """Let ``source`` deliver until cancelled. A ``retry_after`` that its error carries is waited for."""

    def lost(error: BaseException, wait: float) -> None:
        assert isinstance(error, NodeError)
        source.lost(error, wait)

    async for attempt in until_it_works(clock, NodeError, on_failure=lost):
        with attempt:
            try:
                await source.deliver()
            finally:
                if source.had_worked:
                    start_over(attempt.retry_state)
