"""The receiving loop of solana-py's and anchorpy's documentation: subscribe, iterate, decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from solana.rpc.commitment import Confirmed
from solana.rpc.websocket_api import connect
from solders.pubkey import Pubkey
from solders.rpc.responses import AccountNotification, SubscriptionResult

from quantdesk_oracle.pyth.idl import account_coder


async def follow(url: str, addresses: Sequence[str], on_price: Callable[[str, Any], None]) -> None:
    """Call ``on_price`` with the address and the decoded account of every notification."""
    coder = account_coder()
    of_subscription: dict[int, str] = {}
    async with connect(url) as websocket:
        for address in addresses:
            await websocket.account_subscribe(Pubkey.from_string(address), Confirmed, "base64")
        async for messages in websocket:
            for message in messages:
                if isinstance(message, AccountNotification):
                    account = coder.decode(message.result.value.data)
                    on_price(of_subscription[message.subscription], account)
                elif isinstance(message, SubscriptionResult):
                    of_subscription[message.result] = addresses[message.id - 1]
