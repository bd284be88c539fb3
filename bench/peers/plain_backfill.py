"""The loop that solana-py's documentation leads to for prints of the past: signatures, their transactions, executemany.

    python -m bench.peers.plain_backfill RPC_URL DSN SINCE     of the local node's three feeds, since a Unix time

As many requests at once as ours has, a page of signatures an INSERT. It knows of no request limit, tries nothing again,
asks for what is stored already, judges no print, and where it was stopped it begins anew.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
from based58 import b58decode
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.pubkey import Pubkey
from solders.rpc.responses import RpcConfirmedTransactionStatusWithSignature as Listed
from solders.transaction_status import UiPartiallyDecodedInstruction

from bench.peers.borsh import PRICE_MESSAGE
from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.pyth.idl import instruction_coder

AT_ONCE = 5
INSERT = """
    INSERT INTO oracle_prices (market_id, created_at, slot, exponent, price, confidence)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
"""
Row = tuple[object, ...]


async def main(url: str, dsn: str, since: int) -> None:
    """Every feed, one after the other."""
    connection = await asyncpg.connect(dsn)
    ids = {row["symbol"]: row["id"] for row in await connection.fetch("SELECT symbol, id FROM markets")}
    async with AsyncClient(url, Confirmed) as client:
        for feed in DEFAULT_FEEDS:
            await backfill(client, connection, ids[feed.market], Pubkey.from_string(feed.address), since)
    await connection.close()


async def backfill(
    client: AsyncClient, connection: asyncpg.Connection, market: object, account: Pubkey, since: int
) -> None:
    """Page by page, newest first, until a page ends before ``since``."""
    before = None
    while True:
        page = (await client.get_signatures_for_address(account, before=before)).value
        wanted = [one for one in page if one.err is None and (one.block_time or 0) >= since]
        rows: list[Row] = []
        for start in range(0, len(wanted), AT_ONCE):
            few = wanted[start : start + AT_ONCE]
            for prints in await asyncio.gather(*(prints_of(client, account, one) for one in few)):
                rows += [(market, *one) for one in prints]
        await connection.executemany(INSERT, rows)
        if not page or (page[-1].block_time or 0) < since:
            return
        before = page[-1].signature


async def prints_of(client: AsyncClient, account: Pubkey, listed: Listed) -> list[Row]:
    """What a transaction wrote into the account."""
    answer = await client.get_transaction(
        listed.signature, encoding="jsonParsed", max_supported_transaction_version=0
    )
    if answer.value is None:
        return []
    transaction: Any = answer.value.transaction
    outer = transaction.transaction.message.instructions
    inner = [one for group in transaction.meta.inner_instructions or () for one in group.instructions]
    return list(_posted([*outer, *inner], account, listed.slot))


def _posted(instructions: Sequence[Any], account: Pubkey, slot: int) -> Iterator[Row]:
    for one in instructions:
        if not isinstance(one, UiPartiallyDecodedInstruction) or account not in one.accounts:
            continue
        try:
            posted = instruction_coder().parse(b58decode(one.data.encode()))
        except KeyError:  # another program's, or another of the receiver's
            continue
        message = PRICE_MESSAGE.parse(bytes(posted.data.params.merkle_price_update.message))
        published = datetime.fromtimestamp(message.publish_time, UTC)
        price, confidence = (Decimal(raw).scaleb(message.exponent) for raw in (message.price, message.conf))
        yield published, slot, message.exponent, price, confidence


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
