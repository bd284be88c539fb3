"""A Solana node on two real sockets of the loopback that does to its clients what a test tells it to."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from quantdesk_oracle.config import EndpointSettings
from tests.vectors.encoder import price_update_v2

RECEIVER = "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp"
SYSTEM = "11111111111111111111111111111111"
MAINNET = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
DEVNET = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"

Script = Callable[["FaultyNode", ServerConnection], Awaitable[None]]


def account(data: bytes, owner: str = RECEIVER, lamports: int = 1_823_520) -> dict[str, Any]:
    """An account's state as a node writes it."""
    encoded = base64.b64encode(data).decode()
    return {
        "data": [encoded, "base64"],
        "executable": False,
        "lamports": lamports,
        "owner": owner,
        "rentEpoch": 2**64 - 1,
        "space": len(data),
    }


def a_print(publish_time: int = 1_800_000_000, **fields: Any) -> dict[str, Any]:
    """The account of a *Full* print."""
    return account(price_update_v2(publish_time=publish_time, **fields))


class FaultyNode:
    """Answers like a node, unless ``http`` or ``script`` says otherwise."""

    def __init__(self) -> None:
        self.genesis = MAINNET
        self.slot = 1_000
        self.accounts: dict[str, dict[str, Any] | None] = {}
        self.http: list[Callable[[dict[str, Any]], web.Response | None]] = []
        """What the next HTTP requests are answered with, one each; None: as usual."""
        self.http_always: Callable[[dict[str, Any]], web.Response | None] | None = None
        self.handshakes: list[Response] = []
        """What the next websocket handshakes are refused with, one each."""
        self.script: Script = quiet
        self.sockets: list[ServerConnection] = []
        self.subscribed: list[dict[str, int]] = []
        """A connection each: account, or "slots", to subscription id."""
        self.requests: list[dict[str, Any]] = []
        self.next_id = 0
        self._runner: web.ServerRunner | None = None
        self._websocket: Server | None = None
        self._ports = (0, 0)

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._websocket = await serve(
            self._converse, "127.0.0.1", 0, process_request=self._handshake, ping_interval=None
        )
        http_port = self._runner.addresses[0][1]
        self._ports = (http_port, next(iter(self._websocket.sockets)).getsockname()[1])

    async def stop(self) -> None:
        assert self._runner
        assert self._websocket
        for socket in self.sockets:
            socket.transport.abort()
        self._websocket.close()
        await self._websocket.wait_closed()
        await self._runner.cleanup()

    def endpoint(self, name: str = "faulty", **options: Any) -> EndpointSettings:
        """Where it answers."""
        from pydantic import SecretStr

        http, websocket = self._ports
        return EndpointSettings(
            name,
            SecretStr(f"http://127.0.0.1:{http}/?api-key=secret"),
            SecretStr(f"ws://127.0.0.1:{websocket}/?api-key=secret"),
            **options,
        )

    def count(self, method: str) -> int:
        """How many HTTP requests of ``method`` have come."""
        return sum(request["method"] == method for request in self.requests)

    async def notify(self, pubkey: str, state: dict[str, Any], connection: int = -1) -> None:
        """Notify the subscribers of ``pubkey`` on one connection."""
        result = {"context": {"slot": self.slot}, "value": state}
        await self.send_notification("accountNotification", self.subscribed[connection][pubkey], result)

    async def send_notification(self, method: str, subscription: int, result: Any) -> None:
        params = {"result": result, "subscription": subscription}
        await self.sockets[-1].send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.requests.append(body)
        answer = self.http.pop(0)(body) if self.http else None
        if answer is None and self.http_always is not None:
            answer = self.http_always(body)
        return answer or result_of(body, self._usual(body))

    def _usual(self, body: dict[str, Any]) -> Any:
        if body["method"] == "getGenesisHash":
            return self.genesis
        if body["method"] == "getSlot":
            return self.slot
        assert body["method"] == "getMultipleAccounts", body
        return {
            "context": {"apiVersion": "3.0.0", "slot": self.slot},
            "value": [self.accounts.get(key) for key in body["params"][0]],
        }

    def _handshake(self, _connection: ServerConnection, _request: Request) -> Response | None:
        return self.handshakes.pop(0) if self.handshakes else None

    async def _converse(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        self.subscribed.append({})
        await self.script(self, socket)

    async def accept(self, socket: ServerConnection, *, requests: int | None = None) -> None:
        """Answer subscriptions until the slots, which come last, or ``requests`` of them."""
        answered = 0
        async for text in socket:
            request = json.loads(text)
            slots = request["method"] == "slotSubscribe"
            self.subscribed[-1]["slots" if slots else request["params"][0]] = self.next_id
            await socket.send(json.dumps({"jsonrpc": "2.0", "result": self.next_id, "id": request["id"]}))
            self.next_id += 1
            answered += 1
            if slots or answered == requests:
                return


async def quiet(node: FaultyNode, socket: ServerConnection) -> None:
    """Accept every subscription, and say nothing more until the client leaves."""
    await node.accept(socket)
    await socket.wait_closed()


def refusal(status: int, **headers: str) -> Response:
    """A refused handshake."""
    fields = Headers({key.replace("_", "-"): value for key, value in headers.items()})
    fields["Content-Length"] = "0"
    fields["Connection"] = "close"
    return Response(status, "refused", fields, b"")


def result_of(body: dict[str, Any], result: Any) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "result": result, "id": body["id"]})


def error_of(code: int, message: str = "no", **more: Any) -> Callable[[dict[str, Any]], web.Response]:
    """An error inside an HTTP 200."""

    def answer(body: dict[str, Any]) -> web.Response:
        error = {"code": code, "message": message, **more}
        return web.json_response({"jsonrpc": "2.0", "error": error, "id": body["id"]})

    return answer


def raw(content: bytes, status: int = 200, **headers: str) -> Callable[[dict[str, Any]], web.Response]:
    """Bytes as they are."""

    def answer(_body: dict[str, Any]) -> web.Response:
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        return web.Response(body=content, status=status, headers=fields, content_type="application/json")

    return answer
