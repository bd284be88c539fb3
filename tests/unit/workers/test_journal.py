"""Events on their way to system_events: the first at once, repetitions as a count a minute."""

from __future__ import annotations

import asyncio

import pytest

from quantdesk_oracle.model import Event, Severity
from quantdesk_oracle.ops.events import EventLimiter
from quantdesk_oracle.workers.journal import Journal
from tests.clock import VirtualClock


class Writer:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def journal(writer: Writer, clock: VirtualClock) -> Journal:
    return Journal(writer, EventLimiter(exempt=("daemon.stopped",)), clock)  # type: ignore[arg-type]


def test_the_first_of_a_kind_is_written_at_once(
    journal: Journal, writer: Writer, clock: VirtualClock
) -> None:
    journal.record("feed.dead", Severity.ERROR, market="BTC-PERP", age=181)
    [event] = writer.events
    assert (event.type, event.severity, event.market, event.data) == (
        "feed.dead", Severity.ERROR, "BTC-PERP", {"age": 181},
    )  # fmt: skip
    assert event.instant == clock.now()


async def test_repetitions_are_one_event_a_minute(
    journal: Journal, writer: Writer, clock: VirtualClock
) -> None:
    task = asyncio.create_task(journal.run())
    for _ in range(100):
        journal.record("print.rejected", reason="uncertain")
        await clock.advance(0.3)
    assert len(writer.events) == 1
    await clock.advance(60)
    assert [event.data.get("repeated") for event in writer.events] == [None, 99]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_at_the_end_every_count_is_written(journal: Journal, writer: Writer) -> None:
    for _ in range(5):
        journal.record("print.rejected", reason="uncertain")
    journal.flush()
    journal.record("daemon.stopped")
    assert [(event.type, event.data.get("repeated")) for event in writer.events] == [
        ("print.rejected", None),
        ("print.rejected", 4),
        ("daemon.stopped", None),
    ]


def test_two_events_of_one_kind_have_two_identities(journal: Journal, writer: Writer) -> None:
    journal.record("daemon.stopped")
    journal.record("daemon.stopped")
    assert len({event.id for event in writer.events}) == 2
