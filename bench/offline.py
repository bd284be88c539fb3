"""The daemon's parts wired as in production, with no database behind them: what is put stays in the queue."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.feeds import configuration
from quantdesk_oracle.assembly import Parts, World, assemble
from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import load_settings
from quantdesk_oracle.ops import logging
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.pricing.funding import FundingParameters
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.markets import MarketRow, ParameterVersion
from quantdesk_oracle.workers.state import Markets, MarketState

_NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
_HEAD = "[database]\nqueue_rows = 1_000_000\n"


def assembled(ws_url: str, count: int) -> Parts:
    """Everything for ``count`` of the bench's feeds; nothing runs yet."""
    logging.setup(json=True, level="warning", stream=sys.stderr, secrets=())
    rpc_url = ws_url.replace("ws://", "http://")
    os.environ.update(SOLANA_NETWORK="localnet", RPC_URL=rpc_url, WS_URL=ws_url, DATABASE_URL=_NOWHERE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        settings = load_settings(config_file=configuration(path, count, _HEAD), state_dir=path)
    feeds, markets = [feed.name for feed in settings.feeds], [market.symbol for market in settings.markets]
    metrics = Metrics(feeds, markets, [one.name for one in settings.node.endpoints], "bench")
    clock = SystemClock()
    database = Database(_NOWHERE, pool_size=1, command_timeout=1)
    world = World(settings, clock, database, metrics, RpcClient(settings.node, metrics, clock))
    version = ParameterVersion(0, FundingParameters(interval=3_600, max_rate=Decimal("0.01")))
    return assemble(
        world, Markets(MarketState(market, _row(market.symbol), [version]) for market in settings.markets)
    )


def _row(symbol: str) -> MarketRow:
    """A market as the table would have it; what no price depends on is left empty."""
    row: dict[str, Any] = dict.fromkeys(column.name for column in fields(MarketRow))
    row |= {"id": uuid4(), "symbol": symbol, "funding_interval": 3_600, "funding_rate": Decimal(0)}
    return MarketRow(**row)
