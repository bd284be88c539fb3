"""The node's two doors without their sockets: what a POST is answered, and what a websocket's messages do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet import jsonrpc
from quantdesk_oracle.localnet.passage import HttpAnswer, RefusalError, Request
from quantdesk_oracle.localnet.pubsub import PubSub

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantdesk_oracle.localnet.node import Node
    from quantdesk_oracle.localnet.passage import Client, Handler
    from quantdesk_oracle.localnet.rpc import Methods
    from quantdesk_oracle.localnet.wire import Json

LONGEST_MESSAGE: Final = 4_096
"""Bytes of one incoming websocket message; a longer one ends the connection, without a close frame."""
LONGEST_BODY: Final = 50 * 1024
"""Bytes of one HTTP request."""
JSON_HEADERS: Final = {"Content-Type": "application/json"}
_TEXT_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8"}


class Doors:
    """How clients reach ``node``."""

    def __init__(self, node: Node, methods: Methods) -> None:
        self._node = node
        self._methods = methods

    async def post(self, body: bytes) -> HttpAnswer:
        """The answer to the JSON-RPC request, or batch of them, in ``body``. Raises NoAnswerError."""
        passage = self._node.passage
        passage.posted()
        if len(body) > LONGEST_BODY:
            return HttpAnswer(413, b"request body is larger than 50 KiB\n", _TEXT_HEADERS)
        asked: list[Request] = []
        try:
            answer = jsonrpc.answer(body, self._calling(asked, self._methods.call))
            http = HttpAnswer(200, answer or b"", JSON_HEADERS)
        except RefusalError as refusal:
            http = refusal.answer
        return await passage.answer(asked, http)

    def open(self, client: Client) -> Session:
        """A websocket for ``client``, whose handshake :meth:`knock` has let in."""
        self._node.passage.connected(client)
        return Session(self._node, client, self._calling)

    def knock(self) -> None:
        """A handshake. Raises RefusalError or NoAnswerError where it is turned away."""
        self._node.passage.connecting()

    def _calling(self, asked: list[Request], handler: Handler) -> Handler:
        """``handler`` behind the passage; the requests are noted in ``asked``."""

        def call(method: str, params: jsonrpc.Parameters) -> Json:
            request = Request(method, params)
            asked.append(request)
            return self._node.passage.call(request, handler)

        return call


class Session:
    """One websocket's conversation."""

    def __init__(
        self, node: Node, client: Client, calling: Callable[[list[Request], Handler], Handler]
    ) -> None:
        self._node = node
        self._client = client
        self._pubsub = PubSub(node, client)
        self._calling = calling

    def receive(self, message: bytes) -> None:
        """Take one message of the client; its answer is on the way when this returns."""
        if len(message) > LONGEST_MESSAGE:
            self._client.drop()
            return
        asked: list[Request] = []
        try:
            answer = jsonrpc.answer(message, self._calling(asked, self._pubsub.call))
        except RefusalError:
            # There is no HTTP status on a websocket that stands: whoever refuses there ends it.
            self._client.drop()
            return
        if answer is not None:
            self._node.passage.reply(self._client, asked, answer)

    def close(self) -> None:
        """The client is gone: forget its subscriptions."""
        self._pubsub.close()
        self._node.passage.disconnected(self._client)
