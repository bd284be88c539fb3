"""The limiter of system events: no event forgotten, no kind more than once a minute, bounded memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from quantdesk_oracle.model import SECOND, Event, Severity
from quantdesk_oracle.ops.events import INTERVAL, MAX_REASON, MAX_TYPES, OVERFLOW, EventLimiter, Kind, kind_of
from quantdesk_oracle.ops.logging import iso

START = 1_769_860_800 * SECOND
MAX_KINDS = 3


def event(
    now: int = START, type_: str = "print.rejected", market: str | None = "BTC-PERP", reason: str | None = "future",
    severity: Severity = Severity.WARNING,
) -> Event:  # fmt: skip
    return Event(type_, severity, now, {} if reason is None else {"reason": reason}, market)


class Step(NamedTuple):
    """After ``forward`` µs: an event of a kind, or (None) the timer that asks what is due."""

    forward: int
    kind: Kind | None


kinds = st.builds(
    Kind,
    st.sampled_from(["print.rejected", "feed.stale"]),
    st.sampled_from(["A", None]),
    st.sampled_from("xy"),
)
steps = st.lists(st.builds(Step, st.integers(0, 40 * SECOND), st.none() | kinds), max_size=120)


def play(
    limiter: EventLimiter, steps: list[Step], now: int = START
) -> tuple[Counter[Kind], list[Event], int]:
    """What happened, what was written, and when it ended."""
    happened, written = Counter[Kind](), list[Event]()
    for forward, kind in steps:
        now += forward
        if kind is None:
            written += limiter.due(now)
        else:
            happened[kind] += 1
            written += limiter.offer(event(now, *kind), now)
    return happened, written, now


def told(written: list[Event]) -> Counter[Kind]:
    counts = Counter[Kind]()
    for each in written:
        counts[kind_of(each)] += each.data.get("repeated", 1)
    return counts


@given(steps)
def test_every_event_is_written_or_counted_once(steps: list[Step]) -> None:
    limiter = EventLimiter()
    happened, written, now = play(limiter, steps)
    assert told(written + limiter.flush(now)) == happened
    assert limiter.flush(now) == []


@given(steps)
def test_of_one_kind_nothing_is_written_twice_within_a_minute(steps: list[Step]) -> None:
    _, written, _ = play(EventLimiter(), steps)
    instants = defaultdict(list)
    for each in written:
        instants[kind_of(each)].append(each.instant)
    for of_kind in instants.values():
        assert all(b - a >= INTERVAL for a, b in pairwise(of_kind))


@given(steps)
def test_nothing_counted_waits_longer_than_a_minute_and_the_timer(steps: list[Step]) -> None:
    limiter = EventLimiter()
    _, _, now = play(limiter, steps)
    limiter.due(now + INTERVAL)
    assert limiter.flush(now + INTERVAL) == []


@given(steps)
def test_with_too_many_kinds_the_sum_still_comes_out_and_memory_is_bounded(steps: list[Step]) -> None:
    limiter = EventLimiter(max_kinds=MAX_KINDS)
    happened, written, now = play(limiter, steps)
    assert len(limiter._windows) <= MAX_KINDS
    assert told(written + limiter.flush(now)).total() == happened.total()


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), kinds), max_size=60))
def test_a_clock_that_jumps_loses_no_event(jumps: list[tuple[int, Kind]]) -> None:
    limiter = EventLimiter()
    happened, written, now = play(limiter, [Step(forward, kind) for forward, kind in jumps])
    assert told(written + limiter.flush(now)) == happened


def test_the_first_of_a_kind_is_written_as_it_is() -> None:
    first = event()
    assert EventLimiter().offer(first, START) == [first]


def test_what_follows_is_one_summary_at_the_end_of_the_minute_at_its_worst_severity() -> None:
    limiter = EventLimiter()
    limiter.offer(event(START), START)
    for second, severity in ((1, Severity.WARNING), (2, Severity.CRITICAL), (3, Severity.INFO)):
        now = START + second * SECOND
        assert limiter.offer(event(now, severity=severity), now) == []
    assert limiter.due(START + INTERVAL - 1) == []
    end = START + INTERVAL
    data = {
        "reason": "future",
        "repeated": 3,
        "since": iso(START + SECOND),
        "until": iso(START + 3 * SECOND),
    }
    (summary,) = limiter.due(end)
    assert (summary.type, summary.market, summary.instant) == ("print.rejected", "BTC-PERP", end)
    assert (summary.severity, summary.data) == (Severity.CRITICAL, data)
    assert limiter.due(end) == []


def test_while_it_goes_on_there_is_a_summary_a_minute_and_no_first() -> None:
    limiter = EventLimiter()
    written = [e for s in range(301) for e in limiter.offer(event(START + s * SECOND), START + s * SECOND)]
    assert [(e.instant - START, e.data.get("repeated")) for e in written] == [
        (0, None), (1 * INTERVAL, 59), (2 * INTERVAL, 60), (3 * INTERVAL, 60), (4 * INTERVAL, 60),
        (5 * INTERVAL, 60),
    ]  # fmt: skip


def test_after_a_quiet_minute_the_next_is_a_first_again() -> None:
    limiter = EventLimiter()
    limiter.offer(event(), START)
    later = event(START + INTERVAL)
    assert limiter.offer(later, START + INTERVAL) == [later]


def test_type_market_and_reason_make_a_kind_each() -> None:
    limiter = EventLimiter()
    different = [event(), event(market="ETH-PERP"), event(market=None), event(reason="wide"), event(reason=None),
                 event(type_="feed.stale")]  # fmt: skip
    assert [limiter.offer(e, START) for e in different] == [[e] for e in different]


def test_one_kind_too_many_goes_into_a_summary_of_its_own_a_minute_later() -> None:
    limiter = EventLimiter(max_kinds=1)
    limiter.offer(event(), START)
    for market in ("A", "B", "B"):
        assert (
            limiter.offer(event(START + SECOND, market=market, severity=Severity.ERROR), START + SECOND) == []
        )
    end = START + SECOND + INTERVAL
    (summary,) = limiter.due(end)
    assert (summary.type, summary.severity, summary.market) == (OVERFLOW, Severity.ERROR, None)
    assert summary.data["repeated"] == 3
    assert summary.data["types"] == {"print.rejected": 3}


def test_endless_new_types_and_reasons_do_not_fill_the_memory() -> None:
    limiter = EventLimiter(max_kinds=1)
    for i in range(10 * MAX_TYPES):
        limiter.offer(event(type_=f"type.{i}", reason="r" * 10_000), START)
    (summary,) = limiter.flush(START)
    assert len(summary.data["types"]) == MAX_TYPES + 1
    assert summary.data["repeated"] == 10 * MAX_TYPES - 1
    assert len(kind_of(event(reason="r" * 10_000)).reason or "") == MAX_REASON


def test_exempt_types_always_pass() -> None:
    limiter = EventLimiter(exempt={"daemon.started"})
    started = event(type_="daemon.started")
    assert [limiter.offer(started, START) for _ in range(3)] == [[started]] * 3
    assert limiter.flush(START) == []


def test_a_clock_that_is_set_back_ends_the_minute() -> None:
    limiter = EventLimiter()
    limiter.offer(event(), START)
    limiter.offer(event(), START)
    back = START - 3600 * SECOND
    (summary,) = limiter.due(back)
    assert (summary.instant, summary.data["repeated"]) == (back, 1)
    assert limiter.due(back + INTERVAL) == []
    again = event(back + INTERVAL)
    assert limiter.offer(again, back + INTERVAL) == [again]
