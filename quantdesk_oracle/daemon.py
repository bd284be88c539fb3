"""The daemon: prepares, runs the workers, drains them on stop.

    poller, subscription ─► ingest ─► price writer ─► oracle_prices
                              │
                              ▼
                       index of each market ─► mark worker ─► mark writer ─► mark_prices
                                                   │
                                                   ▼
                                             sample worker ─► premium_samples ─► funding worker ─► funding_rates

Stopping goes the same way: sources first, then the grid, then the samples of the instants that were
ticked, then the writers, each within what is left of ten seconds. Who knows whom: ``assembly``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from quantdesk_oracle import __version__
from quantdesk_oracle.assembly import Parts, World, assemble
from quantdesk_oracle.bootstrap import (
    WhenMade,
    check_cluster,
    check_decoder,
    ensure_schema,
    load_markets,
)
from quantdesk_oracle.config.accounts import account_problems
from quantdesk_oracle.errors import DatabaseError, UnavailableError
from quantdesk_oracle.model import Severity
from quantdesk_oracle.ops.health import ALIVE_LIMIT, HealthServer
from quantdesk_oracle.ops.instance import Instance
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.ops.page import page_routes
from quantdesk_oracle.ops.systemd import Notifier, Watchdog, watchdog_interval
from quantdesk_oracle.snapshot import tell_more
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.backlog import Backlog
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.schema import NEEDED_VERSION
from quantdesk_oracle.store.spool import Spool, SpoolError
from quantdesk_oracle.workers.instances import InstanceWorker
from quantdesk_oracle.workers.reread import Reread, reread
from quantdesk_oracle.workers.state import Markets
from quantdesk_oracle.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Settings
    from quantdesk_oracle.workers.status import Status

log = structlog.get_logger("daemon")
STOP_SECONDS = 9.0
"""What stopping may take at most; the promise is ten."""
LAST_PRINTS_SECONDS = 2.0
SAMPLES_SECONDS = 3.0


class Daemon:
    """One run: ``await prepare()``, ``await run(stop)``, ``summary()``."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._instance = Instance.begin(clock)
        self._notifier = Notifier(os.environ)
        metrics = Metrics(
            [feed.name for feed in settings.feeds],
            [market.symbol for market in settings.markets],
            [endpoint.name for endpoint in settings.node.endpoints],
            __version__,
        )
        database = Database(
            settings.database.url.get_secret_value(),
            pool_size=settings.database.pool_size,
            command_timeout=settings.database.command_timeout,
        )
        spool = Spool(
            settings.state_dir, capacity=settings.database.spool_bytes, on_set_aside=self._spool_set_aside
        )
        self._set_aside: list[tuple[str, str]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._world = World(
            settings,
            clock,
            database,
            metrics,
            RpcClient(settings.node, metrics, clock),
            Backlog(spool, clock, metrics),
        )
        self._supervisor = Supervisor(metrics)
        self._health: HealthServer | None = None
        self._parts: Parts | None = None
        self._instances: InstanceWorker | None = None
        self.http_port: int | None = None

    @property
    def parts(self) -> Parts:
        """What runs; there once prepared."""
        assert self._parts is not None, "not prepared"
        return self._parts

    @property
    def status(self) -> Status:
        """What the daemon says of itself; there once prepared."""
        return self.parts.status

    async def prepare(self, when_made: WhenMade | None = None) -> None:
        """Everything that has to hold before the first print; ``when_made`` as in bootstrap.ensure_schema.

        Raises ConfigError, SchemaError, DatabaseError; what was opened is closed then.
        """
        async with self._closing_on_failure():
            checks = [check_decoder()]
            if any(feed.on_chain for feed in self._settings.feeds):
                checks.append(check_cluster(self._world.client))
            await asyncio.gather(*checks)
            await self._world.database.open()
            await self._open_backlog()
            applied = await ensure_schema(self._world.database, when_made)
            states = await load_markets(self._world.database, self._settings, self._clock.now())
            self._parts = assemble(self._world, Markets(states))
            tell_more(self._parts, self._world, self._instance)
            self._instances = self._new_instances(self._parts)
            self._parts.status.more["instances"] = self._instances.shown
            if applied:
                self._parts.journal.record("schema.applied", version=NEEDED_VERSION)
            self._tell_account_problems(self._settings)
            self._tell_set_aside()
            await self._parts.clock_guard.compare()

    async def run(
        self, stop: asyncio.Event, *, before_stop: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Run until ``stop`` is set or a worker dies, then drain. Raises WorkerError for the latter.

        ``before_stop`` is awaited when stopping begins, while the sources still listen.
        """
        async with self._closing_on_failure():
            self._start_health()
        # What has been built stays until the end: looking through it again stalls the loop, 0.4 s at 2,000 feeds.
        gc.freeze()
        self._start_workers()
        self.parts.journal.record("daemon.started", instance=self._instance.id, version=__version__)
        self._notifier.ready(f"{len(self._settings.markets)} markets")
        log.info("daemon.started", instance=self._instance.id, version=__version__, http_port=self.http_port)
        await _first(stop, self._supervisor.failed)
        self._notifier.stopping()
        await self._shut_down(before_stop)
        if self._supervisor.failure is not None:
            raise self._supervisor.failure

    async def reread(self, before: Settings, now: Settings) -> Reread:
        """Take over what changed from the settings ``before`` to those of ``now``, as far as a running daemon can.

        Raises DatabaseError where new markets cannot be looked up; they have not come then.
        """
        self._notifier.reloading(time.monotonic_ns() // 1_000)
        try:
            found = reread(self.parts.markets, before, now, self.parts.journal)
            self.parts.roster.follow(now.markets)
            await self._admit(replace(now, markets=self.parts.roster.new(now.markets)))
        finally:
            self._notifier.ready()
        return found

    async def _admit(self, settings: Settings) -> None:
        """Have the markets of ``settings`` too."""
        if settings.markets:
            self._tell_account_problems(settings)
            self.parts.roster.admit(await load_markets(self._world.database, settings, self._clock.now()))
            self._start_sources()

    def summary(self) -> dict[str, Any]:
        """What this run did, as `run --json` prints it."""
        embedded = self._settings.embedded_dsn
        dsn = self._settings.database.url.get_secret_value() if embedded else self._world.database.name
        return {**self.parts.numbers(), "dsn": dsn}

    def _new_instances(self, parts: Parts) -> InstanceWorker:
        backlog = self._world.backlog
        return InstanceWorker(
            self._world.database,
            self._clock,
            self._instance,
            __version__,
            lambda: tuple(parts.markets.by_symbol),
            ready=lambda: parts.status.readiness().ready,
            spool_rows=lambda: 0 if backlog is None else backlog.rows,
        )

    async def _open_backlog(self) -> None:
        """Open the spool; a daemon that has none still writes, and waits in memory while the database is away."""
        assert self._world.backlog is not None
        self._loop = asyncio.get_running_loop()
        try:
            await self._world.backlog.open()
        except SpoolError as error:
            log.error("spool.failed", cause=str(error))  # noqa: TRY400 (its sentence says it all)

    def _spool_set_aside(self, path: Path, cause: str) -> None:
        """Told in the spool's own thread, perhaps before there is a journal."""
        log.error("spool.damaged", cause=cause, set_aside=path.name)
        self._set_aside.append((path.name, cause))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell_set_aside)

    def _tell_set_aside(self) -> None:
        while self._parts is not None and self._set_aside:
            name, cause = self._set_aside.pop()
            self.parts.journal.record("spool.damaged", Severity.ERROR, cause=cause, set_aside=name)

    def _start_health(self) -> None:
        settings, metrics = self._settings, self._world.metrics
        pages = page_routes()
        self._health = HealthServer(settings.http_host, settings.http_port, metrics, self.status, pages=pages)
        try:
            self._health.start()
        except UnavailableError as error:
            if not settings.http_port_is_default:
                raise
            # Nobody chose this port: another daemon on the machine has it, and prices matter more.
            log.warning("health.moved", cause=str(error), cure="set QUANTDESK_HTTP_PORT")
            self._health = HealthServer(settings.http_host, 0, metrics, self.status, pages=pages)
            self._health.start()
        self.http_port = self._health.port

    def _start_workers(self) -> None:
        parts, start = self.parts, self._supervisor.start
        start("heartbeat", parts.heartbeat.run())
        for name, writer in parts.writers.items():
            start(name, writer.run())
        start("journal", parts.journal.run())
        if parts.drain is not None:
            start("drain", parts.drain.run())
        start("clock_guard", parts.clock_guard.run())
        if self._instances is not None:
            start("instances", self._instances.run())
        start("disk_watch", parts.disk_watch.run())
        start("upkeep", parts.upkeep.run())
        start("samples", parts.samples.run())
        start("marks", parts.mark_worker.run())
        start("funding", parts.funding.run())
        start("estimates", parts.estimates.run())
        start("past", parts.past.run())
        if parts.positions is not None:
            start("positions", parts.positions.run())
        start("status", parts.status.run())
        self._start_sources()
        start("watch", parts.watch.run())
        start("healing", parts.healing.run())
        interval = watchdog_interval(os.environ, os.getpid())
        if interval is not None:
            limit = min(interval, ALIVE_LIMIT)
            watchdog = Watchdog(self._notifier, parts.heartbeat, self._clock, interval=interval, limit=limit)
            start("watchdog", watchdog.run())

    def _start_sources(self) -> None:
        """Once there is an account to watch, or a feed on Hermes: a daemon may begin with none, and be given one."""
        parts, start = self.parts, self._supervisor.start
        if parts.hermes.streams.feed_ids and "hermes" not in self._supervisor:
            start("hermes", parts.hermes.streams.run())
            start("hermes_watch", parts.hermes.watch.run())
            if parts.hermes.healing is not None:
                start("hermes_healing", parts.hermes.healing.run())
        if not parts.ingest.pubkeys or "polling" in self._supervisor:
            return
        start("polling", parts.poller.run())
        start("subscription", parts.subscription.run())
        if parts.backup is not None:
            start("backup_subscription", parts.backup.run())
        start("probe", parts.probe.run())

    async def _shut_down(self, before_stop: Callable[[], Awaitable[None]] | None) -> None:
        log.info("daemon.stopping")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_SECONDS
        parts, supervisor = self.parts, self._supervisor
        async with _at_most(LAST_PRINTS_SECONDS):
            if before_stop is not None:
                await before_stop()
            await parts.subscription.drained()
        await supervisor.stop("polling", "subscription", "backup_subscription", "probe", "marks")
        await supervisor.stop("hermes", "watch", "healing", "hermes_watch", "hermes_healing")
        async with _at_most(SAMPLES_SECONDS):
            await parts.samples.drained(self._clock.now())
        await supervisor.stop(
            "positions",
            "samples",
            "funding",
            "estimates",
            "past",
            "journal",
            "status",
            "clock_guard",
            "disk_watch",
            "upkeep",
            "drain",
        )
        await supervisor.stop("instances")
        await parts.samples.keep_rest()
        self._tell_set_aside()
        parts.journal.record("daemon.stopped", instance=self._instance.id)
        parts.journal.flush()
        unwritten = 0
        for name, writer in parts.writers.items():
            writer.close()
            await supervisor.finish(name, deadline - loop.time())
            unwritten += writer.waiting
        if unwritten:
            log.error("rows.unwritten", rows=unwritten, cause=str(parts.status.database_trouble))
        await self._say_stopped()
        await self._close()
        log.info("daemon.stopped", rows_unwritten=unwritten)

    async def _say_stopped(self) -> None:
        """In this daemon's row; a database that is away will know by the row's age."""
        async with _at_most(0.5):
            if self._instances is not None:
                with contextlib.suppress(DatabaseError):
                    await self._instances.renew(ends=True)

    async def _close(self) -> None:
        await self._supervisor.stop_all()
        if self._health is not None:
            await asyncio.to_thread(self._health.stop)
        if self._world.backlog is not None:
            with contextlib.suppress(SpoolError):
                await self._world.backlog.close()
        async with _at_most(1.0):
            await self._world.client.close()
            if self._parts is not None:
                await self._parts.hermes.close()
        async with _at_most(1.0):
            await self._world.database.close()

    @contextlib.asynccontextmanager
    async def _closing_on_failure(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self._close()
            raise

    def _tell_account_problems(self, settings: Settings) -> None:
        for problem in account_problems(settings):
            log.error("account.unusable", market=problem.market, problem=problem.problem, cure=problem.cure)
            self.parts.journal.record(
                "account.unusable",
                Severity.ERROR,
                market=problem.market,
                account=problem.account,
                problem=problem.problem,
                cure=problem.cure,
            )


@contextlib.asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    """Leave the block after ``seconds``, done or not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of ``events`` is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
