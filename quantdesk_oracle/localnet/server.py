"""The node's two sockets: JSON-RPC over HTTP on one, the websocket on the other."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from quantdesk_oracle.errors import UnavailableError
from quantdesk_oracle.localnet import control
from quantdesk_oracle.localnet.doors import LONGEST_BODY
from quantdesk_oracle.localnet.passage import NoAnswerError, RefusalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quantdesk_oracle.localnet.control import Control
    from quantdesk_oracle.localnet.doors import Doors
    from quantdesk_oracle.localnet.passage import HttpAnswer
    from quantdesk_oracle.localnet.settings import LocalnetSettings

_FRAME_LIMIT: Final = 1 << 20
_SHUTDOWN_S: Final = 0.2


class Connection:
    """A websocket client. Messages are written in the same turn of the loop, all of them at once, or the client is
    dropped: it never makes anyone wait."""

    def __init__(self, transport: asyncio.Transport, send_buffer: int) -> None:
        self._transport = transport
        self._send_buffer = send_buffer
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []

    def deliver(self, message: bytes) -> None:
        self._write(text_frame(message))

    def drop(self) -> None:
        """End the connection as a node does: without a close frame."""
        self._out.clear()
        self._transport.abort()

    def close(self, code: int) -> None:
        """End the connection with a close frame; the client's own ends the conversation."""
        self._write(b"\x88\x02" + code.to_bytes(2, "big"))

    def freeze(self) -> None:
        """Read nothing that the client sends, pings neither, nor notice that it goes."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def thaw(self) -> None:
        """Read on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _write(self, frame: bytes) -> None:
        if self._transport.is_closing():
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        frames, self._out = self._out, []
        if self._transport.is_closing() or not frames:
            return
        self._transport.write(b"".join(frames))
        if self._transport.get_write_buffer_size() > self._send_buffer:
            self.drop()


def text_frame(message: bytes) -> bytes:
    """One unmasked, final text frame. Source: RFC 6455, 5.2."""
    size = len(message)
    if size < 126:
        return b"\x81" + bytes([size]) + message
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + message
    return b"\x81\x7f" + size.to_bytes(8, "big") + message


class Server:
    """Serves ``doors`` until it is stopped."""

    def __init__(self, settings: LocalnetSettings, doors: Doors, control: Control | None = None) -> None:
        self._settings = settings
        self._doors = doors
        self._control = control
        self._runners: list[web.ServerRunner] = []
        self._listeners: tuple[socket.socket, ...] = ()
        self._connections: set[Connection] = set()
        self.rpc_port = 0
        self.ws_port = 0

    def bind(self) -> None:
        """Take both ports. Raises UnavailableError where one is taken."""
        settings = self._settings
        rpc = _listen(settings.host, settings.rpc_port)
        try:
            ws = _listen(settings.host, settings.ws_port)
        except UnavailableError:
            rpc.close()
            raise
        self._listeners = (rpc, ws)
        self.rpc_port, self.ws_port = rpc.getsockname()[1], ws.getsockname()[1]

    async def start(self) -> None:
        """Serve the ports that :meth:`bind` took."""
        handlers = (self._answer_http, self._answer_websocket)
        for listener, handler in zip(self._listeners, handlers, strict=True):
            await self._serve(listener, handler)

    async def stop(self) -> None:
        """Close both ports and every connection."""
        for connection in tuple(self._connections):
            connection.drop()
        for runner in self._runners:
            await runner.cleanup()
        for listener in self._listeners:
            listener.close()
        self._runners.clear()

    async def _serve(
        self, listener: socket.socket, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    ) -> None:
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, listener).start()

    async def _answer_http(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == "/health":
            return web.Response(text="ok")
        if self._control is not None and request.path.startswith(control.PATH):
            return await self._answer_control(self._control, request)
        if request.method != "POST":
            return web.Response(
                status=405, text="Used HTTP Method is not allowed. POST or OPTIONS is required\n"
            )
        if request.content_type != "application/json":
            required = "Supplied content type is not allowed. Content-Type: application/json is required\n"
            return web.Response(status=415, text=required)
        if (request.content_length or 0) > LONGEST_BODY:
            return web.Response(status=413, text="request body is larger than 50 KiB\n")
        try:
            return _response(await self._doors.post(await request.read()))
        except NoAnswerError:
            return _hang_up(request)

    async def _answer_control(self, asked: Control, request: web.BaseRequest) -> web.StreamResponse:
        if not control.from_this_machine(request.remote, request.headers.get("Origin")):
            return web.Response(status=403, text="control is for programs on this machine\n")
        return _response(asked.answer(request.method, request.path, await request.read()))

    async def _answer_websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False, max_msg_size=_FRAME_LIMIT)
        if not response.can_prepare(request).ok:
            return web.Response(
                status=400, text="this port speaks websocket; JSON-RPC over HTTP is on the other\n"
            )
        try:
            self._doors.knock()
        except RefusalError as refusal:
            return _response(refusal.answer)
        except NoAnswerError:
            return _hang_up(request)
        await response.prepare(request)
        await self._converse(request, response)
        return response

    async def _converse(self, request: web.BaseRequest, response: web.WebSocketResponse) -> None:
        assert request.transport is not None
        connection = Connection(request.transport, self._settings.send_buffer)
        self._connections.add(connection)
        session = self._doors.open(connection)
        try:
            async for message in response:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                session.receive(message.data if isinstance(message.data, bytes) else message.data.encode())
        finally:
            session.close()
            self._connections.discard(connection)


def _response(answer: HttpAnswer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def _hang_up(request: web.BaseRequest) -> web.Response:
    """End the connection without an answer; the response is for nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(
                f"port {port} of {host} is in use: end what listens there, or name another port (0: any free one)"
            ) from None
        raise UnavailableError(f"cannot listen on {host} port {port}: {error.strerror}") from error
