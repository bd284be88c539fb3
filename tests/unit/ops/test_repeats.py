"""The repeat limiter: few lines, no line forgotten, bounded memory."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from quantdesk_oracle.ops.repeats import RepeatLimiter

LIMIT, INTERVAL, CAPACITY = 2, 100, 3

steps = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-50, 150)), max_size=80)


@given(steps)
def test_every_line_is_written_or_counted_once(steps: list[tuple[str, int]]) -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(LIMIT, INTERVAL, CAPACITY)
    offered, told, now = Counter[str](), Counter[str](), 10_000
    for key, forward in steps:
        now += forward
        offered[key] += 1
        write, said = limiter.offer(key, now)
        told[key] += write
        for repeated in said:
            assert repeated.times > 0
            told[repeated.key] += repeated.times
    for repeated in limiter.flush():
        told[repeated.key] += repeated.times
    assert told == offered


@given(st.lists(st.integers(0, 40), max_size=80))
def test_one_key_is_written_at_most_limit_times_an_interval_that_begins_with_a_written_line(
    forwards: list[int],
) -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(LIMIT, INTERVAL, CAPACITY)
    written, now = [], 0
    for forward in forwards:
        now += forward
        if limiter.offer("a", now)[0]:
            written.append(now)
    # Any stretch of one interval touches two windows at most, and the second one without its first line.
    most = 2 * LIMIT - 1
    assert all(later - first >= INTERVAL for first, later in zip(written, written[most:], strict=False))
    starts = written[:1]
    for instant in written:
        if instant >= starts[-1] + INTERVAL:
            starts.append(instant)
    assert all(sum(s <= t < s + INTERVAL for t in written) <= LIMIT for s in starts)


def test_what_was_left_out_is_said_once_the_interval_is_over() -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(LIMIT, INTERVAL, CAPACITY)
    assert [limiter.offer("a", t)[0] for t in range(5)] == [True, True, False, False, False]
    assert limiter.due(99) == []
    assert limiter.due(100) == [("a", 3)]
    assert limiter.due(100) == []
    assert limiter.offer("a", 101) == (True, [])


def test_beyond_its_capacity_the_oldest_key_is_told_and_forgotten() -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(1, INTERVAL, CAPACITY)
    for key in "aabc":
        limiter.offer(key, 0)
    assert limiter.offer("d", 1) == (True, [("a", 1)])
    assert limiter.offer("e", 1) == (True, [])


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    limiter: RepeatLimiter[str] = RepeatLimiter(1, INTERVAL, CAPACITY)
    limiter.offer("a", 10_000)
    limiter.offer("a", 10_001)
    assert limiter.offer("a", 5) == (True, [("a", 1)])
