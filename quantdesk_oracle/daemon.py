"""The daemon: builds the parts, runs the workers, drains them on stop.

    poller, subscription ─► ingest ─► price writer ─► oracle_prices
                              │
                              ▼
                       index of each market ─► mark worker ─► mark writer ─► mark_prices
                                                   │
                                                   ▼
                                             sample worker ─► premium_samples ─► funding worker ─► funding_rates

Stopping goes the same way: sources first, then the grid, then the samples of the instants that were
ticked, then the writers, each within what is left of ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from quantdesk_oracle import __version__
from quantdesk_oracle.config.accounts import account_problems
from quantdesk_oracle.errors import ConfigError, NodeError, SchemaError, UnavailableError
from quantdesk_oracle.model import Event, MarkPrice, Severity, StoredPrint
from quantdesk_oracle.ops.events import EventLimiter
from quantdesk_oracle.ops.health import ALIVE_LIMIT, HealthServer
from quantdesk_oracle.ops.heartbeat import Heartbeat
from quantdesk_oracle.ops.instance import Instance
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.ops.systemd import Notifier, Watchdog, watchdog_interval
from quantdesk_oracle.sources.polling import Poller
from quantdesk_oracle.sources.rpc import RpcClient, WrongClusterError
from quantdesk_oracle.sources.subscription import Subscription, SubscriptionLostError
from quantdesk_oracle.store import schema, series
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.markets import ensure_markets, read_markets
from quantdesk_oracle.store.writer import BatchWriter
from quantdesk_oracle.workers.clock_guard import ClockGuard
from quantdesk_oracle.workers.funding import FundingWorker, current_parameters
from quantdesk_oracle.workers.ingest import Ingest
from quantdesk_oracle.workers.journal import Journal
from quantdesk_oracle.workers.marks import MarkWorker
from quantdesk_oracle.workers.samples import SampleWorker
from quantdesk_oracle.workers.state import Markets, MarketState
from quantdesk_oracle.workers.status import Status
from quantdesk_oracle.workers.supervisor import Supervisor
from quantdesk_oracle.workers.upkeep import UpkeepWorker

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Settings

log = structlog.get_logger("daemon")
STOP_SECONDS = 9.0
"""What stopping may take at most; the promise is ten."""
Row = TypeVar("Row")


class Daemon:
    """One run: ``await prepare()``, ``await run(stop)``, ``summary()``."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._instance = Instance.begin(clock)
        self._notifier = Notifier(os.environ)
        self._database = Database(
            settings.database.url.get_secret_value(),
            pool_size=settings.database.pool_size,
            command_timeout=settings.database.command_timeout,
        )
        endpoints = RpcClient.endpoint_names(settings.node)
        self._metrics = Metrics(
            [feed.name for feed in settings.feeds],
            [market.symbol for market in settings.markets],
            endpoints,
            __version__,
        )
        self._client = RpcClient(settings.node, self._metrics)
        self._supervisor = Supervisor(self._metrics)
        self._health: HealthServer | None = None
        self.http_port: int | None = None

    # ── preparing ────────────────────────────────────────────────────────────────────────────────

    async def prepare(self) -> None:
        """Everything that has to hold before the first print: cluster, database, schema, markets.

        Raises ConfigError, SchemaError, DatabaseError.
        """
        await self._check_cluster()
        await self._database.open()
        applied = await self._ensure_schema()
        states = await self._load_markets()
        self._build(Markets(states))
        if applied:
            self._journal.record("schema.applied", version=schema.NEEDED_VERSION)
        self._tell_account_problems()
        await self._clock_guard.compare()

    async def _check_cluster(self) -> None:
        """A node that answers now must serve the network of the settings; one that is away is waited for later."""
        try:
            await self._client.verify_cluster()
        except WrongClusterError as error:
            raise ConfigError([str(error)]) from None
        except NodeError as error:
            log.warning("node.unreachable", endpoint=self._client.endpoint, cause=str(error))

    async def _ensure_schema(self) -> bool:
        """Bootstrap an empty database; whether that was done. Raises SchemaError for any other that does not fit."""
        async with self._database.connection("cannot read the schema") as connection:
            found = await schema.status(connection)
            if found.generation != "none":
                await schema.check(connection)
                log.info("schema.found", version=found.version, mode=found.mode)
                return False
            log.info("schema.missing", database=self._database.name)
            try:
                made = await schema.apply(connection)
            except SchemaError as error:
                raise SchemaError(
                    f"the database has no QuantDesk schema, and this role cannot make it ({error}); "
                    "as a role that may: quantdesk-oracle schema apply"
                ) from error
        log.info("schema.applied", version=made.version, mode=made.mode)
        return True

    async def _load_markets(self) -> list[MarketState]:
        markets = self._settings.markets
        added = await ensure_markets(self._database, markets, self._settings.program_id)
        if added:
            log.info("markets.added", markets=added)
        rows = await read_markets(self._database, [market.symbol for market in markets])
        now = self._clock.now()
        return [
            MarketState(
                market,
                rows[market.symbol],
                await current_parameters(self._database, rows[market.symbol], now),
            )
            for market in markets
        ]

    # ── building ─────────────────────────────────────────────────────────────────────────────────

    def _build(self, markets: Markets) -> None:
        settings, clock, database, metrics = self._settings, self._clock, self._database, self._metrics
        self._prices = self._writer(
            "oracle_prices", StoredPrint, partial(series.insert_oracle_prices, database, markets.ids)
        )
        self._marks = self._writer(
            "mark_prices", MarkPrice, partial(series.insert_mark_prices, database, markets.ids)
        )
        self._events = self._writer("system_events", Event, partial(series.insert_system_events, database))
        limiter = EventLimiter(exempt=("daemon.started", "daemon.stopped"))
        self._journal = Journal(self._events, limiter, clock)
        self._clock_guard = ClockGuard(database, self._journal, clock, settings.clock_tolerance)
        self._ingest = Ingest(markets, self._prices, self._journal, metrics)
        self._samples = SampleWorker(markets, self._marks, database, clock, metrics)
        self._mark_worker = MarkWorker(
            markets,
            self._marks,
            self._journal,
            clock,
            metrics,
            interval=settings.mark_interval,
            may_write=lambda: self._clock_guard.agrees,
            on_instant=self._samples.offer,
        )
        self._funding = FundingWorker(
            markets,
            self._samples,
            database,
            clock,
            metrics,
            settle_delay=settings.settle_delay,
            late_after=settings.late_after,
            may_write=lambda: self._clock_guard.agrees,
        )
        self._heartbeat = Heartbeat(clock, metrics.event_loop_lag)
        self.status = Status(markets, self._ingest, self._clock_guard, self._heartbeat, clock, self._numbers)
        self._build_sources()

    def _build_sources(self) -> None:
        node, pubkeys = self._settings.node, self._ingest.pubkeys
        self._subscription = Subscription(
            node,
            self._client,
            pubkeys,
            self._ingest,
            self._clock,
            self._metrics,
            on_connected=self._connected,
            on_lost=self._lost,
        )
        self._poller = Poller(
            self._client,
            pubkeys,
            self._ingest,
            self._clock,
            node.poll_interval,
            on_read=self._subscription.polled,
        )
        self.status.poller, self.status.subscription = self._poller, self._subscription

    def _writer(
        self, table: str, _row: type[Row], insert: Callable[[Sequence[Row]], Awaitable[int]]
    ) -> BatchWriter[Row]:
        return BatchWriter(
            table,
            insert,
            self._clock,
            self._metrics,
            batch_rows=self._settings.database.batch_rows,
            capacity=self._settings.database.queue_rows,
            on_refused=partial(self._refused, table),
            on_trouble=self._database_trouble,
        )

    # ── running ──────────────────────────────────────────────────────────────────────────────────

    async def run(
        self, stop: asyncio.Event, *, before_stop: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Run until ``stop`` is set or a worker dies, then drain. Raises WorkerError for the latter.

        ``before_stop`` is awaited when stopping begins, while the sources still listen.
        """
        self._start_health()
        self._start_workers()
        self._journal.record("daemon.started", instance=self._instance.id, version=__version__)
        self._notifier.ready(f"{len(self._settings.markets)} markets")
        log.info("daemon.started", instance=self._instance.id, version=__version__, http_port=self.http_port)
        await _first(stop, self._supervisor.failed)
        self._notifier.stopping()
        await self._shut_down(before_stop)
        if self._supervisor.failure is not None:
            raise self._supervisor.failure

    def _start_health(self) -> None:
        settings = self._settings
        port = settings.http_port
        self._health = HealthServer(settings.http_host, port, self._metrics, self.status)
        try:
            self._health.start()
        except UnavailableError as error:
            if not settings.http_port_is_default:
                raise
            # Nobody chose this port: another daemon on the machine has it, and prices matter more.
            log.warning("health.moved", cause=str(error), cure="set QUANTDESK_HTTP_PORT")
            self._health = HealthServer(settings.http_host, 0, self._metrics, self.status)
            self._health.start()
        self.http_port = self._health.port

    def _start_workers(self) -> None:
        start = self._supervisor.start
        start("heartbeat", self._heartbeat.run())
        start("prices", self._prices.run())
        start("marks_writer", self._marks.run())
        start("events", self._events.run())
        start("journal", self._journal.run())
        start("clock_guard", self._clock_guard.run())
        start("upkeep", UpkeepWorker(self._database, self._journal, self._clock).run())
        start("samples", self._samples.run())
        start("marks", self._mark_worker.run())
        start("funding", self._funding.run())
        start("status", self.status.run())
        start("polling", self._poller.run())
        start("subscription", self._subscription.run())
        interval = watchdog_interval(os.environ, os.getpid())
        if interval is not None:
            watchdog = Watchdog(
                self._notifier,
                self._heartbeat,
                self._clock,
                interval=interval,
                limit=min(interval, ALIVE_LIMIT),
            )
            start("watchdog", watchdog.run())

    async def _shut_down(self, before_stop: Callable[[], Awaitable[None]] | None) -> None:
        log.info("daemon.stopping")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_SECONDS
        supervisor = self._supervisor
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                if before_stop is not None:
                    await before_stop()
                await self._subscription.drained()
        await supervisor.stop("polling", "subscription", "marks")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(3.0, deadline - loop.time())):
                await self._samples.drained(self._clock.now())
        await supervisor.stop("samples", "funding", "journal", "status", "clock_guard", "upkeep")
        self._journal.record("daemon.stopped", instance=self._instance.id)
        self._journal.flush()
        lost = 0
        for name, writer in self._writers():
            writer.close()
            await supervisor.finish(name, deadline - loop.time())
            lost += writer.waiting
        if lost:
            log.error("rows.unwritten", rows=lost, cause=self.status.database_trouble)
        await supervisor.stop_all()
        await self._close()
        log.info("daemon.stopped", rows_unwritten=lost)

    async def _close(self) -> None:
        if self._health is not None:
            await asyncio.to_thread(self._health.stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._client.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._database.close()

    def _writers(self) -> tuple[tuple[str, BatchWriter[Any]], ...]:
        return (("prices", self._prices), ("marks_writer", self._marks), ("events", self._events))

    # ── telling ──────────────────────────────────────────────────────────────────────────────────

    def summary(self) -> dict[str, Any]:
        """What this run did, as `run --json` prints it."""
        numbers = self._numbers()
        settings = self._settings
        dsn = settings.database.url.get_secret_value() if settings.embedded_dsn else self._database.name
        return {**numbers, "dsn": dsn}

    def _numbers(self) -> dict[str, Any]:
        return {
            "rows": {
                "oracle_prices": self._prices.inserted,
                "mark_prices": self._marks.inserted,
                "premium_samples": self._samples.inserted,
                "funding_rates": self._funding.inserted,
                # Settlement writes an event of its own in its transaction.
                "system_events": self._events.inserted + self._funding.inserted,
            },
            "updates": self._ingest.updates,
            "duplicates": self._ingest.duplicates + self._prices.duplicates,
            "rejected": {reason.value: count for reason, count in sorted(self._ingest.rejected.items())},
            "reconnects": max(self._subscription.connections - 1, 0),
        }

    def _tell_account_problems(self) -> None:
        for problem in account_problems(self._settings):
            log.error("account.unusable", market=problem.market, problem=problem.problem, cure=problem.cure)
            self._journal.record(
                "account.unusable",
                Severity.ERROR,
                market=problem.market,
                account=problem.account,
                problem=problem.problem,
                cure=problem.cure,
            )

    def _connected(self, endpoint: str) -> None:
        # accountSubscribe sends no first state.
        self._poller.snapshot()
        log.info("subscription.connected", endpoint=endpoint, connection=self._subscription.connections)
        if self._subscription.connections > 1:
            self._journal.record("subscription.restored", endpoint=endpoint)

    def _lost(self, endpoint: str, error: SubscriptionLostError) -> None:
        self._journal.record(
            "subscription.lost", Severity.WARNING, endpoint=endpoint, reason=error.reason, cause=str(error)
        )

    def _refused(self, table: str, row: object, error: Exception) -> None:
        log.error("row.refused", table=table, row=repr(row)[:500], cause=str(error))
        if table != "system_events":
            self._journal.record(
                "row.refused", Severity.ERROR, reason=table, row=repr(row)[:500], cause=str(error)
            )

    def _database_trouble(self, cause: str | None) -> None:
        self.status.database_trouble = cause


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of ``events`` is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
