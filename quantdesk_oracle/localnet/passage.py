"""Everything that goes into the node or out of it passes here: as it comes, or as a drill wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantdesk_oracle.localnet.inprocess import InProcessNode
    from quantdesk_oracle.localnet.jsonrpc import Parameters
    from quantdesk_oracle.localnet.subscriptions import Topic
    from quantdesk_oracle.localnet.wire import Json

    Handler = Callable[[str, Parameters], Json]


class Subscriber(Protocol):
    """A client that can be told. Telling never waits: a client that cannot take it is dropped."""

    def deliver(self, message: bytes) -> None:
        """Hand over one JSON message."""


class Client(Subscriber, Protocol):
    """A websocket connection, from the node's side."""

    def drop(self) -> None:
        """End it without a close frame."""

    def close(self, code: int) -> None:
        """End it with a close frame."""

    def freeze(self) -> None:
        """Read nothing that it sends, its pings neither."""

    def thaw(self) -> None:
        """Read on."""


class HttpAnswer(NamedTuple):
    """What one POST brings."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Request(NamedTuple):
    """One call of a method."""

    method: str
    params: Parameters

    def keys(self) -> tuple[str, ...]:
        """The accounts that it names (base58)."""
        return self.params.keys()


class NoAnswerError(Exception):
    """The connection ends, and nothing was said."""


class RefusalError(Exception):
    """An HTTP answer other than 200, to a POST or to a websocket's handshake."""

    def __init__(self, answer: HttpAnswer) -> None:
        self.answer = answer
        super().__init__(f"HTTP {answer.status}")


class Passage:
    """A node's way in and out. This one is faultless; ``localnet.faults.Drill`` is the other."""

    def attach(self, local: InProcessNode) -> None:
        """Belong to ``local``, from now on."""

    async def start(self) -> None:
        """The node begins."""

    async def stop(self) -> None:
        """The node ends. May be called without a start, and twice."""

    def connecting(self) -> None:
        """A client asks for a websocket. Raises RefusalError or NoAnswerError where it gets none."""

    def connected(self, client: Client) -> None:
        """``client`` has its websocket."""

    def disconnected(self, client: Client) -> None:
        """``client`` is gone."""

    def posted(self) -> None:
        """A POST begins. Raises NoAnswerError where the node is away."""

    def call(self, request: Request, handler: Handler) -> Json:
        """The result of one request, over HTTP or a websocket. Raises RpcError or RefusalError."""
        return handler(request.method, request.params)

    async def answer(self, requests: Sequence[Request], answer: HttpAnswer) -> HttpAnswer:
        """What is sent for a POST of ``requests``. Raises NoAnswerError."""
        return answer

    def reply(self, client: Client, requests: Sequence[Request], message: bytes) -> None:
        """Send a websocket's answer to ``requests``."""
        client.deliver(message)

    def notify(self, subscriber: Subscriber, message: bytes, topic: Topic) -> None:
        """Send a notification."""
        subscriber.deliver(message)
