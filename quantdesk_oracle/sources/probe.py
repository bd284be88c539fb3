"""Looking at every endpoint now and then, so that the one in use is left when another one is better."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.errors import DecodeError, NodeError, NodeProtocolError
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.sources.rpc import ACCOUNTS_PER_REQUEST, WrongClusterError

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.wire import AccountState

EVERY_SECONDS: Final = 2.0


class Probe:
    """Reads the accounts from each endpoint and lets the client's endpoints be reviewed."""

    def __init__(self, client: RpcClient, pubkeys: Sequence[str], clock: Clock) -> None:
        self._client = client
        self.pubkeys = tuple(pubkeys)
        """May be replaced while it runs; as many as one request holds are looked at."""
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled. Where there is one endpoint, there is nothing to choose, and nothing is asked."""
        if len(self._client.endpoints) == 1:
            await asyncio.Event().wait()
        while True:
            await self.look()
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look at all endpoints at once, and review them."""
        await asyncio.gather(*(self._look_at(at) for at in range(len(self._client.endpoints))))
        self._client.endpoints.review()

    async def _look_at(self, at: int) -> None:
        health = self._client.endpoints.healths[at]
        pubkeys = self.pubkeys[:ACCOUNTS_PER_REQUEST]
        try:
            await self._client.verify_cluster(at)
            answer = await self._client.accounts(pubkeys, at)
        except WrongClusterError:
            health.usable = False
        except NodeError:
            pass  # counted where it was asked
        else:
            health.slot = answer.context.slot
            posted = {
                key: slot
                for key, state in zip(pubkeys, answer.value, strict=True)
                if (slot := _posted_slot(state)) is not None
            }
            health.posted = posted


def _posted_slot(state: AccountState | None) -> int | None:
    """The slot in which the account's print was posted; None where it holds none."""
    try:
        data = state.raw() if state is not None else None
        return decode_price(data).slot if data is not None else None
    except (DecodeError, NodeProtocolError):
        return None
