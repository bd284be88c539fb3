"""What ``quantdesk-oracle backfill`` does with a source of history."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from quantdesk_oracle.cli.backfill import HistorySource
from quantdesk_oracle.cli.backfill_report import ProgressBars, summary_of
from quantdesk_oracle.cli.databases import open_database
from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import Feed
from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND, Source
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.retry import Patience
from quantdesk_oracle.sources.hermes import HermesHosts, benchmarks_client, hermes_clients
from quantdesk_oracle.sources.hermes_history import BenchmarksPages, HermesPages
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.database import query
from quantdesk_oracle.store.markets import ensure_markets, read_markets
from quantdesk_oracle.workers.backfill import Backfill
from quantdesk_oracle.workers.history_reader import FINAL, HistoryReader, chain_reader

if TYPE_CHECKING:
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.sources.history import History
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.series import MarketIds
    from quantdesk_oracle.workers.backfill import FeedReport, Span


class Client(Protocol):
    """Who asks a source of history."""

    @property
    def requests(self) -> int:
        """How many have been made."""

    async def close(self) -> None:
        """Leave its connections."""


class BackfillRun:
    """The command's work, and a summary that can be asked for at any moment."""

    def __init__(
        self,
        settings: Settings,
        markets: list[Market],
        span: Span,
        rate: float | None,
        *,
        source: HistorySource,
        every: int,
        dry_run: bool,
        keep: bool,
    ) -> None:
        self.summary: dict[str, Any] = {}
        self._settings = at_rate(settings, rate)
        self._source = source
        self._every = every
        self._keep = keep
        self._markets = markets
        self._span = span
        self._dry_run = dry_run
        self._reports: dict[str, FeedReport] = {}

    async def work(self) -> None:
        """Read the span of all markets. Raises DatabaseError, NodeError, and ConfigError for what would be dropped."""
        async with open_database(self._settings) as database, AsyncExitStack() as stack:
            if not (self._keep or self._dry_run):
                await check_retention(database, self._span)
            await ensure_markets(database, self._markets, self._settings.program_id)
            rows = await read_markets(database, [market.symbol for market in self._markets])
            ids = {symbol: row.id for symbol, row in rows.items()}
            reader, client = self._reader(database, ids)
            stack.push_async_callback(client.close)
            if isinstance(client, RpcClient):
                await client.verify_cluster()
            wanted = [(market, feed) for market in self._markets for feed in self._feeds(market)]
            with ProgressBars([feed for _, feed in wanted]) as bars:

                def on_progress(report: FeedReport) -> None:
                    self._reports[report.feed] = report
                    self._summarise(client, reader)
                    bars.show(report)

                backfill = Backfill(reader, database, ids, dry_run=self._dry_run, on_progress=on_progress)
                await backfill.run(wanted, self._span)
            self._summarise(client, reader)

    def _feeds(self, market: Market) -> list[Feed]:
        """What is read of a market: its accounts; or its feed, where the source is none of the chain."""
        if self._source is HistorySource.chain or market.on_hermes:
            return list(market.feeds)
        name = market.feed_id.hex() if market.feed_id else market.feeds[0].pubkey
        return [Feed(market.symbol, name, None, market.feed_id, source=Source(self._source.value))]

    def _reader(self, database: Database, ids: MarketIds) -> tuple[HistoryReader, Client]:
        """A reader of the source, and the client that it asks."""
        clock, node, hermes = SystemClock(), self._settings.node, self._settings.hermes
        if self._source is HistorySource.chain:
            names = [endpoint.name for endpoint in node.endpoints]
            client = RpcClient(node, Metrics([], [], names, ""), clock)
            return chain_reader(client, database, ids, clock, dry_run=self._dry_run), client
        patience = Patience(clock, FINAL)
        host: Client
        pages: History
        if self._source is HistorySource.benchmarks:
            host = benchmarks_client(hermes, clock)
            pages = BenchmarksPages(host, patience)
        else:
            host = HermesHosts(hermes_clients(hermes, clock))
            pages = HermesPages(host, patience, every=self._every)
        return HistoryReader(pages, patience, database, ids, clock, dry_run=self._dry_run), host

    def _summarise(self, client: Client, reader: HistoryReader) -> None:
        self.summary = summary_of(
            self._reports.values(),
            self._span,
            requests=client.requests,
            retries=reader.retries,
            dry_run=self._dry_run,
        )


def at_rate(settings: Settings, rate: float | None) -> Settings:
    """The settings with every endpoint's budget such that ``rate`` requests a second are sent; None: half of it."""
    if rate is None:
        endpoints = tuple(
            replace(one, method_requests=_half(one.method_requests), requests=_half(one.requests))
            for one in settings.node.endpoints
        )
        hermes = replace(settings.hermes, requests=_half(settings.hermes.requests))
    else:
        method = max(1, math.floor(rate * 10))
        endpoints = tuple(
            replace(one, method_requests=method, requests=method * 2) for one in settings.node.endpoints
        )
        # History is read with seven tenths of what a host takes.
        hermes = replace(settings.hermes, requests=max(2, math.ceil(rate * 10 / 0.7)))
    return replace(settings, node=replace(settings.node, endpoints=endpoints), hermes=hermes)


def _half(requests: int) -> int:
    return max(1, requests // 2)


async def check_retention(database: Database, span: Span) -> None:
    """Raises ConfigError for a span that upkeep would drop again."""
    async with database.connection("cannot read the retention") as connection:
        retention = await connection.fetchval(query("retention"))
    if retention is None:
        return
    oldest = datetime.now(UTC) - retention
    if span.start < oldest.timestamp() * SECOND:
        kept = f"the span begins before {oldest:%Y-%m-%d %H:%M}: oracle_prices keeps {retention.days} days"
        cure = "begin later, prolong the retention in time_series, or read it all the same with --keep"
        raise ConfigError([f"{kept}, and upkeep would drop what is read; {cure}"])
