"""Where the CPU of an update goes in the daemon: each stage alone, on one frame after the other of many feeds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.feeds import OWNER, Feed, feeds, notification
from bench.measure import Case, Contender, Result, Round, interleaved, spread
from bench.offline import assembled
from bench.plan import Plan
from quantdesk_oracle.model import Observation, Source
from quantdesk_oracle.pricing.acceptance import DEFAULT_LIMITS, judge
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.sources import wire

NAME = "stages"
COUNT = 2_000


def run(plan: Plan) -> list[Case]:
    """Parsing, decoding, judging, and all that ingest does, at every feed that Pyth publishes."""
    updates = max(2_000, round(200_000 * plan.seconds))
    parts = assembled("ws://127.0.0.1:1", COUNT)
    some = feeds(COUNT)
    sweeps = itertools.count()
    frames, observations = _frames(some, 0, updates), _observations(some, 0, updates)
    prints = [decode_price(one.data or b"") for one in observations]
    now = time.time_ns() // 1_000

    def ingest() -> float:
        # Every round has prints that nobody has seen.
        fresh = _observations(some, next(sweeps) * updates, updates)
        figure = _each(parts.ingest.observe, fresh)()
        parts.prices._queue.clear()
        return figure

    stages: dict[str, Round] = {
        "all of ingest, to the queue": ingest,
        "frame → fields": _each(wire.read_frame, frames),
        "fields → account bytes": _each(lambda state: state.raw(), [_state(frame) for frame in frames]),
        "account bytes → print": _each(decode_price, [one.data for one in observations]),
        "print → verdict": _each(lambda one: judge(one, DEFAULT_LIMITS, now), prints),
    }
    figures = interleaved([Contender(name, each) for name, each in stages.items()], plan.rounds)
    results = tuple(Result(name, spread(values)) for name, values in figures.items())
    return [Case(NAME, f"CPU of a stage, {COUNT:,} feeds", "µs", results)]


def _frames(some: Sequence[Feed], first: int, count: int) -> list[bytes]:
    return [notification(slot, account, feed.number) for feed, slot, account in _accounts(some, first, count)]


def _observations(some: Sequence[Feed], first: int, count: int) -> list[Observation]:
    now = time.time_ns() // 1_000
    return [
        Observation(feed.address, OWNER, account, Source.SUBSCRIPTION, now)
        for feed, _, account in _accounts(some, first, count)
    ]


def _accounts(some: Sequence[Feed], first: int, count: int) -> Iterable[tuple[Feed, int, bytes]]:
    published = int(time.time())
    for number in range(first, first + count):
        sweep, index = divmod(number, len(some))
        one = some[index].print_of(sweep, published)
        yield some[index], one.slot, some[index].account(one)


def _state(frame: bytes) -> wire.AccountState:
    params = wire.read_frame(frame).params
    assert params is not None
    assert params.result.value is not None
    return params.result.value


def _each(work: Callable[[Any], object], items: Sequence[object]) -> Round:
    def measured() -> float:
        started = time.thread_time_ns()
        for item in items:
            work(item)
        return (time.thread_time_ns() - started) / len(items) / 1_000

    return measured
