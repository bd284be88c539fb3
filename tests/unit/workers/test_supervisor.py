"""Every task has a name and an owner."""

from __future__ import annotations

import asyncio

import pytest

from quantdesk_oracle.errors import WorkerError
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.workers.supervisor import Supervisor


@pytest.fixture
def metrics() -> Metrics:
    return Metrics([], [], [], "0")


@pytest.fixture
def supervisor(metrics: Metrics) -> Supervisor:
    return Supervisor(metrics)


def up(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("quantdesk_oracle_worker_up", {"worker": name})


async def forever() -> None:
    await asyncio.Event().wait()


async def crash() -> None:
    raise KeyError("nobody had thought of this")


async def ends() -> None:
    return


async def test_a_worker_that_dies_is_named_and_stops_the_daemon(
    supervisor: Supervisor, metrics: Metrics
) -> None:
    supervisor.start("steady", forever())
    supervisor.start("marks", crash())
    await asyncio.wait_for(supervisor.failed.wait(), 5)
    assert isinstance(supervisor.failure, WorkerError)
    assert "worker marks ended unexpectedly: KeyError" in str(supervisor.failure)
    assert (up(metrics, "marks"), up(metrics, "steady")) == (0, 1)
    await supervisor.stop_all()


async def test_a_worker_that_ends_unasked_is_as_bad_as_one_that_dies(supervisor: Supervisor) -> None:
    supervisor.start("marks", ends())
    await asyncio.wait_for(supervisor.failed.wait(), 5)
    assert supervisor.failure is not None


async def test_a_worker_that_is_cancelled_by_somebody_else_is_noticed(supervisor: Supervisor) -> None:
    supervisor.start("marks", forever())
    await asyncio.sleep(0)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "marks"]
    task.cancel()
    await asyncio.wait_for(supervisor.failed.wait(), 5)
    assert "cancelled" in str(supervisor.failure)


async def test_the_first_failure_is_the_one_that_is_told(supervisor: Supervisor) -> None:
    supervisor.start("first", crash())
    await asyncio.sleep(0.01)
    supervisor.start("second", ends())
    await asyncio.sleep(0.01)
    assert "worker first" in str(supervisor.failure)


async def test_a_worker_that_is_stopped_is_no_failure(supervisor: Supervisor, metrics: Metrics) -> None:
    supervisor.start("marks", forever())
    await asyncio.sleep(0)
    await supervisor.stop("marks", "one that never was")
    assert not supervisor.failed.is_set()
    assert up(metrics, "marks") == 0


async def test_a_worker_gets_its_time_to_finish_and_no_more(supervisor: Supervisor) -> None:
    supervisor.start("quick", asyncio.sleep(0.01))
    supervisor.start("slow", forever())
    assert await supervisor.finish("quick", 5)
    assert not await supervisor.finish("slow", 0.05)
    assert await supervisor.finish("one that never was", 5)
    assert not supervisor.failed.is_set()


async def test_a_worker_that_fails_while_it_is_stopped_does_not_hide_the_others(
    supervisor: Supervisor,
) -> None:
    async def stubborn() -> None:
        try:
            await forever()
        finally:
            raise RuntimeError("while cleaning up")

    supervisor.start("stubborn", stubborn())
    supervisor.start("other", forever())
    await asyncio.sleep(0)
    await supervisor.stop_all()
    assert [task.get_name() for task in asyncio.all_tasks()].count("other") == 0
