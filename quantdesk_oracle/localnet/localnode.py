"""A local node, whole: the node in the process, and the sockets by which others reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantdesk_oracle.localnet.control import Control
from quantdesk_oracle.localnet.faults import Drill
from quantdesk_oracle.localnet.inprocess import InProcessNode
from quantdesk_oracle.localnet.server import Server

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.localnet.passage import Passage
    from quantdesk_oracle.localnet.settings import LocalnetSettings


class LocalNode(InProcessNode):
    """A local Solana node that serves Pyth accounts, inside the caller's event loop.

    The prices are simulated (or, with ``settings.accounts``, replayed from dumps). Example:

        node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0), SystemClock())
        await node.start()
        ...                       # node.rpc_url, node.ws_url
        await node.stop_pushing() # whatever was pushed has been written to every socket
        await node.stop()

    With a ``Drill`` as its passage it has faults, with ``settings.control`` they can be made over HTTP as well.
    """

    def __init__(self, settings: LocalnetSettings, clock: Clock, passage: Passage | None = None) -> None:
        if settings.control and passage is None:
            passage = Drill()
        super().__init__(settings, clock, passage)
        control = Control(passage) if settings.control and isinstance(passage, Drill) else None
        self._server = Server(settings, self.doors, control)

    @property
    def rpc_url(self) -> str:
        """JSON-RPC over HTTP; valid once started."""
        return f"http://{self._host}:{self._server.rpc_port}"

    @property
    def ws_url(self) -> str:
        """The websocket; valid once started."""
        return f"ws://{self._host}:{self._server.ws_port}"

    async def start(self) -> None:
        """Read the ledger or the dumps, listen, and let time run.

        Raises UnavailableError where a port is taken or the ledger in use, DataError where the ledger or the dumps
        are none.
        """
        self._server.bind()
        await super().start()

    @property
    def _host(self) -> str:
        return f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host

    async def _open(self) -> None:
        await self._server.start()

    async def _close(self) -> None:
        await super()._close()
        await self._server.stop()
