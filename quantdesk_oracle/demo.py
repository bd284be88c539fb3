"""What `run --demo` adds to the daemon: an embedded PostgreSQL and a local Solana node with a simulated market."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from quantdesk_oracle.model import Generation
from quantdesk_oracle.store import schema
from quantdesk_oracle.store.database import Database, query
from quantdesk_oracle.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.localnet import LocalNode

LEDGER = "ledger.jsonl"
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
        settings = replace(
            settings,
            embedded_dsn=True,
            database=replace(settings.database, url=SecretStr(dsn), schema_url=SecretStr(dsn)),
            node=replace(
                settings.node,
                network="localnet",
                rpc_urls=(SecretStr(self._node.rpc_url),),
                ws_urls=(SecretStr(self._node.ws_url),),
            ),
            markets=tuple(_simulated(market) for market in settings.markets),
        )
        await _prepare_schema(settings)
        return settings

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
    return replace(market, feeds=feeds or market.feeds, funding_interval=FUNDING_INTERVAL)


async def _prepare_schema(settings: Settings) -> None:
    """Make the schema if the database is empty, and shorten the funding interval of the markets it begins with."""
    database = Database(
        settings.database.url.get_secret_value(),
        pool_size=1,
        command_timeout=settings.database.command_timeout,
    )
    await database.open()
    try:
        async with database.connection("cannot prepare the demonstration's database") as connection:
            if (await schema.status(connection)).generation == "none":
                await schema.apply(connection)
                symbols = [market.symbol for market in settings.markets]
                await connection.execute(query("set_funding_interval"), symbols, FUNDING_INTERVAL)
    finally:
        await database.close()
