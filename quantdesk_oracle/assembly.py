"""Which part knows which: everything that runs, built and wired in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from quantdesk_oracle.model import SECOND, Event, MarkPrice, Severity, Source, StoredPrint
from quantdesk_oracle.ops.events import EventLimiter
from quantdesk_oracle.ops.heartbeat import Heartbeat
from quantdesk_oracle.sources.hermes import HermesClient, HermesHosts, benchmarks_client, hermes_clients
from quantdesk_oracle.sources.hermes_history import BenchmarksPages, HermesPages
from quantdesk_oracle.sources.hermes_stream import HermesStream
from quantdesk_oracle.sources.hermes_streams import HermesStreams
from quantdesk_oracle.sources.polling import Poller
from quantdesk_oracle.sources.probe import Probe
from quantdesk_oracle.sources.subscription import Subscription, SubscriptionLostError
from quantdesk_oracle.store import series
from quantdesk_oracle.store.publication import Insert, publishing
from quantdesk_oracle.store.writer import BatchWriter
from quantdesk_oracle.workers.books import BookReader, patience_of
from quantdesk_oracle.workers.clock_guard import ClockGuard
from quantdesk_oracle.workers.disk_watch import DiskWatch
from quantdesk_oracle.workers.drain import DrainWorker, Outlet
from quantdesk_oracle.workers.estimates import EstimateWorker
from quantdesk_oracle.workers.funding import FundingWorker
from quantdesk_oracle.workers.healing import HealingWorker
from quantdesk_oracle.workers.hermes_watch import HermesWatch
from quantdesk_oracle.workers.history_reader import chain_reader, off_chain_reader
from quantdesk_oracle.workers.ingest import Ingest
from quantdesk_oracle.workers.journal import Journal
from quantdesk_oracle.workers.marks import MarkWorker
from quantdesk_oracle.workers.past import PastWorker
from quantdesk_oracle.workers.position_health import PositionHealth
from quantdesk_oracle.workers.roster import Roster
from quantdesk_oracle.workers.samples import SampleWorker
from quantdesk_oracle.workers.state import Markets, MarketState
from quantdesk_oracle.workers.status import Status
from quantdesk_oracle.workers.upkeep import UpkeepWorker
from quantdesk_oracle.workers.watch import WatchWorker

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Settings
    from quantdesk_oracle.errors import DatabaseError, NodeError
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.subscription import Connector
    from quantdesk_oracle.store.backlog import Backlog
    from quantdesk_oracle.store.database import Database

log = structlog.get_logger("assembly")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class World:
    """What the parts stand on."""

    settings: Settings
    clock: Clock
    database: Database
    metrics: Metrics
    client: RpcClient
    backlog: Backlog | None = None
    """None: what the database does not take waits in memory."""
    connector: Connector | None = None
    """None: websockets over the network."""


@dataclass(frozen=True, slots=True)
class OnHermes:
    """What follows Hermes and reads its past; it runs once a feed is wanted of it."""

    streams: HermesStreams
    watch: HermesWatch
    healing: HealingWorker | None
    """None: gaps are not read back."""
    clients: tuple[HermesClient, ...]

    @property
    def inserted(self) -> int:
        """Rows that were missing."""
        return self.healing.inserted if self.healing is not None else 0

    def healed(self, state: MarketState, boundary: int) -> bool:
        """As HealingWorker.healed."""
        if self.healing is None:
            return self.watch.has_begun(state.symbol)
        return self.healing.healed(state, boundary)

    async def close(self) -> None:
        """Close every connection."""
        for client in self.clients:
            await client.close()


@dataclass(slots=True)
class Parts:
    """Everything that runs."""

    markets: Markets
    prices: BatchWriter[StoredPrint]
    marks: BatchWriter[MarkPrice]
    events: BatchWriter[Event]
    journal: Journal
    clock_guard: ClockGuard
    ingest: Ingest
    samples: SampleWorker
    mark_worker: MarkWorker
    funding: FundingWorker
    estimates: EstimateWorker
    past: PastWorker
    heartbeat: Heartbeat
    disk_watch: DiskWatch
    upkeep: UpkeepWorker
    status: Status
    subscription: Subscription
    poller: Poller
    probe: Probe
    watch: WatchWorker
    healing: HealingWorker
    roster: Roster
    hermes: OnHermes
    backup: Subscription | None = None
    """The second subscription, where there are to be two."""
    drain: DrainWorker | None = None
    positions: PositionHealth | None = None

    @property
    def writers(self) -> dict[str, BatchWriter[Any]]:
        """The writers by their worker's name, in the order in which they are drained."""
        return {"prices": self.prices, "marks_writer": self.marks, "events": self.events}

    def numbers(self) -> dict[str, Any]:
        """What has been done so far, as the summary and the status tell it."""
        return {
            "rows": {
                "oracle_prices": self.prices.inserted + self.healing.inserted + self.hermes.inserted,
                "mark_prices": self.marks.inserted,
                "premium_samples": self.samples.inserted,
                "funding_rates": self.funding.inserted,
                # Settlement writes an event of its own in its transaction.
                "system_events": self.events.inserted + self.funding.inserted,
            },
            "updates": self.ingest.updates,
            "duplicates": self.ingest.duplicates + self.prices.duplicates,
            "rejected": {reason.value: count for reason, count in sorted(self.ingest.rejected.items())},
            "reconnects": max(self.subscription.connections - 1, 0),
        }


def assemble(world: World, markets: Markets) -> Parts:
    """Build all parts for ``markets``; nothing runs yet."""
    settings, clock, database, metrics = world.settings, world.clock, world.database, world.metrics
    trouble = _Trouble()
    writer = partial(_writer, world, trouble)
    events: BatchWriter[Event] = writer("system_events", partial(series.insert_system_events, database))
    journal = Journal(
        events, EventLimiter(exempt=("daemon.started", "daemon.stopped", "spool.overflowed")), clock
    )
    trouble.journal = journal
    insert_prices = partial(series.insert_oracle_prices, database, markets.ids)
    prices: BatchWriter[StoredPrint] = writer("oracle_prices", _timed(insert_prices, clock, metrics))
    insert_marks: Insert = partial(series.insert_mark_prices, database, markets.ids)
    if settings.mark_notify:
        insert_marks = publishing(database, insert_marks)
    marks: BatchWriter[MarkPrice] = writer("mark_prices", insert_marks)
    clock_guard = ClockGuard(database, journal, clock, settings.clock_tolerance)
    ingest = Ingest(
        markets, prices, journal, metrics, clock=clock, second_source=settings.hermes.second_source
    )
    samples = SampleWorker(markets, marks, database, clock, metrics, world.backlog)
    books = BookReader(markets, database, journal, patience=patience_of(settings.mark_interval))
    mark_worker = MarkWorker(
        markets,
        books,
        marks,
        journal,
        clock,
        metrics,
        interval=settings.mark_interval,
        may_write=lambda: clock_guard.agrees,
        on_instant=samples.offer,
    )
    funding = FundingWorker(
        markets,
        samples,
        database,
        clock,
        metrics,
        settle_delay=settings.settle_delay,
        late_after=settings.late_after,
        may_write=lambda: clock_guard.agrees,
        healed=lambda state, boundary: (hermes if state.market.on_hermes else healing).healed(
            state, boundary
        ),
        on_left=lambda state: roster.left(state),  # noqa: PLW0108 (it is made below)
    )
    heartbeat = Heartbeat(clock, metrics.event_loop_lag, metrics.event_loop_tasks)
    poller, subscriptions = _sources(world, ingest, journal)
    subscription = subscriptions[0]
    hermes = _hermes(world, markets, ingest, prices, journal)
    healing = HealingWorker(
        markets,
        chain_reader(world.client, database, markets.ids, clock),
        database,
        journal,
        clock,
        metrics,
        sweep_interval=settings.node.sweep_interval,
    )
    watch = WatchWorker(markets, prices, database, journal, clock, subscriptions, healing.ask)
    healing.watch = watch
    probe = Probe(world.client, ingest.pubkeys, clock)

    def watch_other_accounts() -> None:
        pubkeys = tuple(ingest.pubkeys)
        poller.pubkeys = probe.pubkeys = pubkeys
        for one in subscriptions:
            one.pubkeys = pubkeys
        hermes.streams.feed_ids = ingest.feed_ids
        poller.snapshot()

    roster = Roster(
        markets, ingest, (watch, hermes.watch), metrics, journal, clock, on_accounts=watch_other_accounts
    )
    status = Status(markets, ingest, clock_guard, heartbeat, clock, poller, subscription)
    trouble.status = status
    status.book_trouble = lambda: books.unreadable
    status.hermes_trouble = lambda: hermes.streams.trouble
    status.websocket_trouble = partial(_websocket_trouble, subscriptions)
    status.disk_trouble = lambda: disk_watch.trouble
    disk_watch = DiskWatch(settings.state_dir, journal, clock, metrics.state_dir_free_bytes.set)
    positions = PositionHealth(markets, database, journal, clock) if settings.refresh_positions else None
    parts = Parts(
        positions=positions,
        hermes=hermes,
        markets=markets,
        prices=prices,
        marks=marks,
        events=events,
        journal=journal,
        clock_guard=clock_guard,
        ingest=ingest,
        samples=samples,
        mark_worker=mark_worker,
        funding=funding,
        estimates=EstimateWorker(markets, database, clock),
        past=PastWorker(markets, database, clock),
        heartbeat=heartbeat,
        disk_watch=disk_watch,
        upkeep=UpkeepWorker(database, journal, clock),
        status=status,
        subscription=subscription,
        poller=poller,
        probe=probe,
        roster=roster,
        watch=watch,
        healing=healing,
        backup=subscriptions[1] if len(subscriptions) > 1 else None,
    )
    if world.backlog is not None:
        parts.drain = _drain(world.backlog, parts, clock, settings.database.batch_rows)
    status.numbers = parts.numbers
    return parts


def _websocket_trouble(subscriptions: Sequence[Subscription]) -> str | None:
    """Why no subscription stands; None where one does, or none has ended yet."""
    if any(one.connected for one in subscriptions):
        return None
    return next((one.failing for one in subscriptions if one.failing), None)


def _timed(
    insert: Callable[[Sequence[StoredPrint]], Awaitable[int]], clock: Clock, metrics: Metrics
) -> Callable[[Sequence[StoredPrint]], Awaitable[int]]:
    """``insert``, each print's way from its receipt to its commit measured."""

    async def timed(rows: Sequence[StoredPrint]) -> int:
        inserted = await insert(rows)
        now = clock.now()
        for row in rows:
            metrics.commit_lag.observe(max(now - row.received, 0) / SECOND)
        return inserted

    return timed


def _drain(backlog: Backlog, parts: Parts, clock: Clock, batch_rows: int) -> DrainWorker:
    writers = (parts.prices, parts.marks, parts.events)
    outlets: dict[str, Outlet] = {writer.table: writer.store for writer in writers}
    outlets["premium_samples"] = parts.samples.store_due
    return DrainWorker(
        backlog,
        outlets,
        parts.journal,
        clock,
        batch_rows=batch_rows,
        busy=lambda: any(writer.waiting for writer in writers),
    )


def _sources(world: World, ingest: Ingest, journal: Journal) -> tuple[Poller, list[Subscription]]:
    node, client, clock = world.settings.node, world.client, world.clock
    subscriptions: list[Subscription] = []

    def connected(endpoint: str) -> None:
        # accountSubscribe sends no first state.
        poller.snapshot()
        connections = sum(one.connections for one in subscriptions)
        log.info("subscription.connected", endpoint=endpoint, connection=connections)
        if connections > len(subscriptions):
            journal.record("subscription.restored", endpoint=endpoint)

    def lost(endpoint: str, error: SubscriptionLostError) -> None:
        journal.record(
            "subscription.lost", Severity.WARNING, endpoint=endpoint, reason=error.reason, cause=str(error)
        )

    def polled(pubkey: str, data: bytes | None) -> None:
        for one in subscriptions:
            one.polled(pubkey, data)

    def changed(old: str, new: str, why: str) -> None:
        world.metrics.endpoint(old).active.set(0)
        world.metrics.endpoint(new).active.set(1)
        journal.record("endpoint.changed", Severity.WARNING, old=old, endpoint=new, cause=why)

    client.endpoints.on_change = changed
    world.metrics.endpoint(client.endpoint).active.set(1)
    subscriptions.extend(
        Subscription(
            node,
            client,
            ingest.pubkeys,
            ingest,
            clock,
            world.metrics,
            on_connected=connected,
            on_lost=lost,
            rank=rank,
            connector=world.connector,
        )
        for rank in range(min(node.subscriptions, len(node.endpoints)))
    )
    poller = Poller(client, ingest.pubkeys, ingest, clock, node.poll_interval, on_read=polled)
    return poller, subscriptions


def _hermes(
    world: World, markets: Markets, ingest: Ingest, prices: BatchWriter[StoredPrint], journal: Journal
) -> OnHermes:
    settings, clock, metrics = world.settings.hermes, world.clock, world.metrics
    clients, benchmarks = hermes_clients(settings, clock), benchmarks_client(settings, clock)

    def lost(endpoint: str, error: NodeError) -> None:
        journal.record(
            "hermes.lost", Severity.WARNING, endpoint=endpoint, reason=error.kind, cause=str(error)
        )

    def stream_of(feed_ids: Sequence[bytes]) -> HermesStream:
        return HermesStream(clients, feed_ids, ingest, clock, metrics, on_lost=lost)

    streams = HermesStreams(stream_of, clock, ingest.feed_ids)
    healing = None
    if settings.history is not None:
        pages = (
            partial(BenchmarksPages, benchmarks)
            if settings.history is Source.BENCHMARKS
            else partial(HermesPages, HermesHosts(clients))
        )
        reader = off_chain_reader(pages, world.database, markets.ids, clock)
        interval = world.settings.node.sweep_interval
        healing = HealingWorker(
            markets, reader, world.database, journal, clock, metrics, sweep_interval=interval
        )
    watch = HermesWatch(
        markets,
        streams,
        prices,
        world.database,
        journal,
        clock,
        settings.history,
        healing.ask if healing is not None else lambda: None,
    )
    if healing is not None:
        healing.watch = watch
    return OnHermes(streams, watch, healing, (*clients, benchmarks))


class _Trouble:
    """Where writers tell of rows that are refused and of a database that is away."""

    journal: Journal | None = None
    status: Status | None = None

    def __init__(self) -> None:
        self._tables: dict[str, DatabaseError] = {}

    def refused(self, table: str, row: object, error: Exception) -> None:
        log.error("row.refused", table=table, row=repr(row)[:500], cause=str(error))
        if table != "system_events" and self.journal is not None:
            self.journal.record(
                "row.refused", Severity.ERROR, reason=table, row=repr(row)[:500], cause=str(error)
            )

    def database(self, table: str, error: DatabaseError | None) -> None:
        """Told by each table's writer; the operator hears of the first one in trouble and of the last one restored."""
        before = bool(self._tables)
        if error is None:
            self._tables.pop(table, None)
        else:
            self._tables[table] = error
        if self.status is not None:
            self.status.database_trouble = next(iter(self._tables.values()), None)
        if self.journal is not None and before is not bool(self._tables):
            if error is not None:
                kind = getattr(error, "kind", "other")
                self.journal.record("database.lost", Severity.ERROR, reason=kind, cause=str(error))
            else:
                self.journal.record("database.restored")


def _writer(
    world: World, trouble: _Trouble, table: str, insert: Callable[[Sequence[Row]], Awaitable[int]]
) -> BatchWriter[Row]:
    return BatchWriter(
        table,
        insert,
        world.clock,
        world.metrics,
        batch_rows=world.settings.database.batch_rows,
        capacity=world.settings.database.queue_rows,
        on_refused=partial(trouble.refused, table),
        on_trouble=partial(trouble.database, table),
        backlog=world.backlog,
    )
