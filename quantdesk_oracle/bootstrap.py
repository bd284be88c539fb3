"""What has to hold before the first print: decoder, cluster, database, schema, markets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from quantdesk_oracle.errors import ConfigError, NodeError, SchemaError
from quantdesk_oracle.pyth.idl import assert_discriminators
from quantdesk_oracle.sources.rpc import WrongClusterError
from quantdesk_oracle.store import schema
from quantdesk_oracle.store.markets import ensure_markets, read_markets
from quantdesk_oracle.workers.books import restore_averages
from quantdesk_oracle.workers.parameters import parameters_of_all
from quantdesk_oracle.workers.state import MarketState

if TYPE_CHECKING:
    from quantdesk_oracle.config import Settings
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.store.database import Database

log = structlog.get_logger("bootstrap")
WhenMade = Callable[[Any], Awaitable[None]]
"""Takes an asyncpg connection."""


async def check_decoder() -> None:
    """The layouts that prices are decoded by must be those of the receiver's IDL. Raises DataError."""
    # In a thread: anchorpy takes most of a second to import.
    await asyncio.to_thread(assert_discriminators)


async def check_cluster(client: RpcClient) -> None:
    """A node that answers now must serve the network of the settings; one that is away is waited for later.

    Raises ConfigError where it serves another.
    """
    try:
        await client.verify_cluster()
    except WrongClusterError as error:
        raise ConfigError([str(error)]) from None
    except NodeError as error:
        log.warning("node.unreachable", endpoint=client.endpoint, cause=str(error))


async def ensure_schema(database: Database, when_made: WhenMade | None = None) -> bool:
    """Make the schema in an empty database; whether that was done. Raises SchemaError for any that does not fit.

    ``when_made`` is awaited with the connection that has just made it.
    """
    async with database.connection("cannot read the schema") as connection:
        found = await schema.status(connection)
        if found.generation != "none":
            await schema.check(connection)
            log.info("schema.found", version=found.version, mode=found.mode)
            return False
        log.info("schema.missing", database=database.name)
        try:
            made = await schema.apply(connection)
        except SchemaError as error:
            raise SchemaError(
                f"the database has no QuantDesk schema, and this role cannot make it ({error}); "
                "as a role that may: quantdesk-oracle schema apply"
            ) from error
        if when_made is not None:
            await when_made(connection)
    log.info("schema.applied", version=made.version, mode=made.mode)
    return True


async def load_markets(database: Database, settings: Settings, now: int) -> list[MarketState]:
    """The settings' markets as the database has them, added where it has not. ``now`` in µs."""
    added = await ensure_markets(database, settings.markets, settings.program_id)
    if added:
        log.info("markets.added", markets=added)
    rows = await read_markets(database, [market.symbol for market in settings.markets])
    versions = await parameters_of_all(database, rows, settings.markets, now)
    states = [
        MarketState(market, rows[market.symbol], versions[market.symbol]) for market in settings.markets
    ]
    await restore_averages(database, states, now)
    return states
