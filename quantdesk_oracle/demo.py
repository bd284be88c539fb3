"""What `run --demo` adds to the daemon: an embedded PostgreSQL and a local Solana node with a simulated market."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from quantdesk_oracle.config import EndpointSettings, Feed
from quantdesk_oracle.model import Generation
from quantdesk_oracle.pyth.addresses import price_feed_address
from quantdesk_oracle.store.database import Database, query
from quantdesk_oracle.store.embedded import EmbeddedServer
from quantdesk_oracle.store.markets import read_markets
from quantdesk_oracle.workers.order_flow import OrderFlow

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.localnet import LocalNode

LEDGER = "ledger.jsonl"
OWN_NODE_REQUESTS = 1_000
"""In ten seconds: nobody else uses the demonstration's node, and its history is wanted soon."""
FUNDING_INTERVAL = 30
"""Seconds: short enough to watch it happen."""


class Demo:
    """The demonstration's own world, in the state directory of the settings."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._node: LocalNode | None = None
        self.ledger: Path = settings.state_dir / LEDGER

    async def start(self) -> Settings:
        """Start node and database; the settings that lead the daemon to them.

        Raises ConfigError without the extra `demo`, UnavailableError where one does not start.
        """
        embedded = EmbeddedServer(self._settings.state_dir)
        dsn = await asyncio.to_thread(embedded.start)
        self._node = self._new_node()
        await self._node.start()
        settings = self._settings
        self._settings = replace(
            settings,
            embedded_dsn=True,
            database=replace(settings.database, url=SecretStr(dsn), schema_url=SecretStr(dsn)),
            node=replace(
                settings.node,
                network="localnet",
                endpoints=(
                    EndpointSettings(
                        "localnet",
                        SecretStr(self._node.rpc_url),
                        SecretStr(self._node.ws_url),
                        requests=OWN_NODE_REQUESTS,
                        method_requests=OWN_NODE_REQUESTS,
                    ),
                ),
            ),
            markets=tuple(_simulated(market) for market in settings.markets),
            hermes=replace(settings.hermes, second_source=False),
        )
        return self._settings

    async def shorten_funding(self, connection: Any) -> None:
        """Let the markets that a new schema begins with be funded as often as the demonstration's settings say."""
        symbols = [market.symbol for market in self._settings.markets]
        await connection.execute(query("set_funding_interval"), symbols, FUNDING_INTERVAL)

    async def trade(self) -> None:
        """Give the markets a book, trades and positions until cancelled. Raises DatabaseError where none can be had."""
        limits = self._settings.database
        database = Database(
            limits.url.get_secret_value(), pool_size=1, command_timeout=limits.command_timeout
        )
        await database.open()
        try:
            markets = {market.symbol: market for market in self._settings.markets}
            rows = await read_markets(database, list(markets))
            notionals = {row.id: markets[symbol].impact_notional for symbol, row in rows.items()}
            await OrderFlow(database, notionals, self._clock).run()
        finally:
            await database.close()

    async def stop_pushing(self) -> None:
        """No print after this one."""
        if self._node is not None:
            await self._node.stop_pushing()

    async def stop(self) -> None:
        """Stop the node; the database goes on running, so that anybody can look at the rows."""
        if self._node is not None:
            await self._node.stop()

    def _new_node(self) -> LocalNode:
        from quantdesk_oracle.localnet import LocalnetSettings, LocalNode

        return LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, ledger=self.ledger), self._clock)


def _simulated(market: Market) -> Market:
    """The market with only the feed that the local node serves, and a funding that can be watched."""
    feeds = tuple(feed for feed in market.feeds if feed.generation is Generation.CORE_UPGRADED)
    if market.on_hermes and market.feed_id is not None:
        address = price_feed_address(market.feed_id, Generation.CORE_UPGRADED)
        feeds = (Feed(market.symbol, address, Generation.CORE_UPGRADED, market.feed_id),)
    return replace(market, feeds=feeds or market.feeds, funding_interval=FUNDING_INTERVAL)
