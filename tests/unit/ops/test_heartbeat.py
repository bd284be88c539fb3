"""The heartbeat of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quantdesk_oracle.ops.heartbeat import REMEMBERED, Heartbeat
from quantdesk_oracle.ops.metrics import Metrics


def heart(clock: Any, **options: Any) -> Heartbeat:
    return Heartbeat(clock, monotonic=clock.monotonic, **options)


async def run_for(heartbeat: Heartbeat, clock: Any, beats: int) -> None:
    clock.sleeps_left = beats
    with pytest.raises(asyncio.CancelledError):
        await heartbeat.run()


def test_the_age_counts_from_the_start_even_if_the_loop_never_runs(clock: Any) -> None:
    heartbeat = heart(clock)
    clock.forward(30)
    assert heartbeat.age() == 30.0


def test_a_beat_makes_it_young_again(clock: Any) -> None:
    heartbeat = heart(clock)
    clock.forward(30)
    heartbeat.beat()
    assert heartbeat.age() == 0.0


async def test_a_loop_that_is_on_time_has_no_lag(clock: Any) -> None:
    heartbeat = heart(clock, interval=0.5)
    await run_for(heartbeat, clock, beats=3)
    assert heartbeat.lag() == 0.0
    assert set(clock.slept) == {0.5}


async def test_the_worst_delay_is_remembered_for_a_minute_and_no_longer(clock: Any) -> None:
    heartbeat = heart(clock)
    clock.late = 2.5
    await run_for(heartbeat, clock, beats=1)
    clock.late = 0.0
    await run_for(heartbeat, clock, beats=REMEMBERED - 2)
    assert heartbeat.lag() == 2.5
    await run_for(heartbeat, clock, beats=2)
    assert heartbeat.lag() == 0.0


async def test_time_before_the_loop_ran_is_no_lag(clock: Any) -> None:
    heartbeat = heart(clock)
    clock.forward(100)
    await run_for(heartbeat, clock, beats=1)
    assert heartbeat.lag() == 0.0


def test_the_metric_grows_while_the_loop_is_stuck(clock: Any) -> None:
    metrics = Metrics([], [], [], "1")
    heartbeat = heart(clock, gauge=metrics.event_loop_lag)
    heartbeat.beat()
    clock.forward(8)
    assert "quantdesk_oracle_event_loop_lag_seconds 7.0" in metrics.render().decode()


async def test_a_beat_counts_the_tasks_of_the_loop(clock: Any) -> None:
    metrics = Metrics([], [], [], "test")
    heartbeat = heart(clock, tasks=metrics.event_loop_tasks)
    waiting = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    heartbeat.beat()
    found = metrics.registry.get_sample_value("quantdesk_oracle_event_loop_tasks")
    assert found == len(waiting) + 1
    for task in waiting:
        task.cancel()
