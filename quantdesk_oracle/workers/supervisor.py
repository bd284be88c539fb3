"""Every task has a name and an owner: one that ends unasked stops the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from quantdesk_oracle.errors import WorkerError

if TYPE_CHECKING:
    from quantdesk_oracle.ops.metrics import Metrics

log = structlog.get_logger("workers.supervisor")


class Supervisor:
    """Owns the daemon's tasks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self.failed = asyncio.Event()
        self.failure: WorkerError | None = None

    def __contains__(self, name: str) -> bool:
        """Whether a task of that name was started."""
        return name in self._tasks

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` as the task ``name``."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        self._metrics.worker(name).up.set(1)
        task.add_done_callback(self._ended)

    async def stop(self, *names: str) -> None:
        """Cancel these tasks and wait until they have ended."""
        self._stopping.update(names)
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self, name: str, within: float) -> bool:
        """Wait ``within`` seconds for a task to end by itself, then cancel it; whether it did."""
        self._stopping.add(name)
        task = self._tasks.get(name)
        if task is None:
            return True
        done, _ = await asyncio.wait({task}, timeout=max(within, 0.0))
        if not done:
            await self.stop(name)
        return bool(done)

    async def stop_all(self) -> None:
        """Cancel whatever still runs."""
        await self.stop(*self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = task.get_name()
        self._metrics.worker(name).up.set(0)
        if name in self._stopping:
            return
        cause = "cancelled" if task.cancelled() else task.exception()
        if isinstance(cause, Exception):
            log.error("worker.died", worker=name, cause=repr(cause), exc_info=cause)
        if self.failure is None:  # what follows from the first one is not the news
            self.failure = WorkerError(f"worker {name} ended unexpectedly: {cause!r}")
        self.failed.set()
