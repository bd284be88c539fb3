"""A TCP proxy between a daemon and its database, to cut and to stall the link of one daemon alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.postgres import free_port


class Link:
    """Forwards a port of its own to another one, until it is cut or stalled."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Link]:
        """Forward for the length of the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Every connection breaks, and none is accepted for long."""
        self._cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def lead_to(self, target: int) -> None:
        """Every connection breaks; the next ones lead to another port."""
        self._target = target
        self.cut()
        self.restore()

    def stall(self) -> None:
        """Connections stay, and nothing comes through any more."""
        self._open.clear()

    def restore(self) -> None:
        """As if nothing had been."""
        self._cut = False
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
