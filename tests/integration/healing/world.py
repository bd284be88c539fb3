"""The daemon's parts from socket to table, on a local node in the same process and a real database, in virtual time.

What the node's ledger holds is the truth that the table is compared with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from quantdesk_oracle.assembly import World, assemble
from quantdesk_oracle.bootstrap import load_markets
from quantdesk_oracle.config import EndpointSettings, Feed, Settings
from quantdesk_oracle.errors import NodeError
from quantdesk_oracle.localnet import LocalnetSettings
from quantdesk_oracle.localnet.faults import Drill, parse_schedule
from quantdesk_oracle.localnet.inprocess import InProcessNode, InProcessSocket, SocketClosedError
from quantdesk_oracle.localnet.passage import NoAnswerError, RefusalError
from quantdesk_oracle.model import Generation
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.rpc import RpcClient, patience_in, status_error
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.workers.state import Markets
from tests.clock import VirtualClock
from tests.e2e import truth

if TYPE_CHECKING:
    from solders.rpc.requests import Body

    from quantdesk_oracle.assembly import Parts

START = 1_790_000_000 * 1_000_000
PATIENCE = 90.0
"""Real seconds that the database may take before a test gives up."""
UNFINISHED = "SELECT FROM oracle_gaps WHERE state IN ('open', 'healing')"
_T = TypeVar("_T")


class Wire:
    """The client's side of in-process nodes: a transport and a connector."""

    def __init__(self, nodes: list[InProcessNode], clock: VirtualClock, limit: float) -> None:
        self.nodes = nodes
        self._clock = clock
        self._limit = limit
        self.requests: list[tuple[int, str]] = []
        """(instant, method) of every request over HTTP."""

    async def post(self, at: int, request: Body) -> str:
        text = request.to_json()
        method = text.split('"method":"', 1)[1].split('"', 1)[0]
        self.requests.append((self._clock.now(), method))
        try:
            answer = await self._within(self.nodes[at].post(text))
        except (NoAnswerError, TimeoutError):
            raise NodeError(f"node-{at} does not answer") from None
        if answer.status != 200:
            raise status_error(f"node-{at}", answer.status, patience_in(answer.headers.items()))
        return answer.body.decode(errors="replace")

    async def close(self) -> None: ...

    @asynccontextmanager
    async def connect(self, endpoint: EndpointSettings, limit: float) -> AsyncIterator[_Connection]:
        node = self.nodes[int(endpoint.name.rsplit("-", 1)[1])]
        try:
            socket = await self._within(node.connect())
        except RefusalError as error:
            raise InvalidStatus(Response(error.answer.status, "refused", _headers(error.answer))) from None
        except NoAnswerError:
            raise ConnectionResetError("no answer") from None
        try:
            yield _Connection(socket)
        finally:
            await socket.aclose()

    async def _within(self, work: Awaitable[_T]) -> _T:
        """``work``'s result, or TimeoutError once the limit has passed by the clock."""
        task, timer = asyncio.ensure_future(work), asyncio.ensure_future(self._clock.sleep(self._limit))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            task.cancel()
            timer.cancel()


class _Connection:
    """An in-process socket with the manners of websockets' ClientConnection."""

    def __init__(self, socket: InProcessSocket) -> None:
        self._socket = socket

    async def send(self, message: str) -> None:
        try:
            await self._socket.send(message)
        except SocketClosedError as error:
            raise _closed(error.code) from None

    async def recv(self, *, decode: bool) -> bytes:
        try:
            return (await self._socket.recv()).encode()
        except SocketClosedError as error:
            raise _closed(error.code) from None

    async def ping(self) -> Awaitable[object]:
        return asyncio.sleep(0)


def _closed(code: int) -> ConnectionClosedError | ConnectionClosedOK:
    frame = None if code == 1006 else Close(code, "")
    kind = ConnectionClosedOK if code in (1000, 1001) else ConnectionClosedError
    return kind(frame, None)


def _legacy_feed(market: str) -> Feed:
    return Feed(market, "H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG", Generation.LEGACY, None)


def _headers(answer: Any) -> Any:
    from websockets.datastructures import Headers

    return Headers(dict(answer.headers))


class WatchedDatabase(Database):
    """Tells whether statements are under way: their time is real, and virtual time has to wait for them."""

    _busy = 0

    @asynccontextmanager
    async def connection(self, what: str) -> AsyncIterator[Any]:
        self._busy += 1
        try:
            async with super().connection(what) as connection:
                yield connection
        finally:
            self._busy -= 1

    async def quiet(self) -> None:
        """Until nobody has had a statement under way for a few turns, or somebody waits for what will not come."""
        turns = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while turns < 3:
                    await asyncio.sleep(0.001)
                    turns = 0 if self._busy else turns + 1


class HealingWorld:
    """A chain that goes on whatever happens, and daemons that come and go."""

    def __init__(self, settings: Settings, dsn: str, ledger: Path, **options: Any) -> None:
        self.clock = VirtualClock(START)
        self.ledger = ledger
        schedule = parse_schedule({"faults": options.pop("faults", []), "seed": options.pop("seed", 0)})
        self._request_timeout = options.pop("request_timeout", 10.0)
        node_options = {key: options.pop(key) for key in ("history", "push_every") if key in options}
        local = LocalnetSettings(ledger=ledger, seed=7, **node_options)
        self.node = InProcessNode(local, self.clock, Drill(schedule))
        self.wire = Wire([self.node], self.clock, self._request_timeout)
        generations = options.pop("generations", (Generation.CORE_UPGRADED,))
        endpoint = EndpointSettings(
            "node-0",
            SecretStr("http://in.process"),
            SecretStr("ws://in.process"),
            requests=options.pop("requests", 1_000),
            method_requests=options.pop("method_requests", 1_000),
        )
        self.settings = replace(
            settings,
            node=replace(settings.node, network="localnet", endpoints=(endpoint,), **options),
            markets=tuple(
                replace(
                    market,
                    feeds=(
                        *(feed for feed in market.feeds if feed.generation in generations),
                        *((_legacy_feed(market.symbol),) if Generation.LEGACY in generations else ()),
                    ),
                )
                for market in settings.markets
            ),
        )
        self.database = WatchedDatabase(dsn, pool_size=4, command_timeout=10)
        self.dsn = dsn
        self.parts: Parts | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.database.open()
        await self.node.start()

    async def begin_anew(self) -> None:
        """Start the chain afresh: nothing of what it held, slots that it had long ago, a ledger of its own."""
        await self.node.stop()
        self.ledger = self.ledger.with_suffix(".anew.jsonl")
        self.node = InProcessNode(LocalnetSettings(ledger=self.ledger, seed=8, slot_ms=500), self.clock)
        self.wire.nodes[0] = self.node
        await self.node.start()

    async def start_daemon(self) -> Parts:
        """Start the parts from the sources to the table."""
        metrics = Metrics(
            [feed.name for feed in self.settings.feeds],
            [market.symbol for market in self.settings.markets],
            ["node-0"],
            "test",
        )
        client = RpcClient(self.settings.node, metrics, self.clock, self.wire)
        world = World(self.settings, self.clock, self.database, metrics, client, connector=self.wire.connect)
        states = await load_markets(self.database, self.settings, self.clock.now())
        self.parts = parts = assemble(world, Markets(states))
        parts.mark_worker._books._patience = 10.0  # real seconds, in which no virtual one passes
        works = [writer.run() for writer in parts.writers.values()]
        works += [parts.poller.run(), parts.subscription.run(), parts.watch.run(), parts.healing.run()]
        self._tasks = [asyncio.ensure_future(work) for work in works]
        return parts

    async def kill_daemon(self) -> None:
        """End it as kill -9 does: nothing is flushed."""
        for task in self._tasks:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def run(self, seconds: float) -> None:
        """Let time pass; the database, whose time is real, is waited for every second."""
        for _ in range(round(seconds)):
            await self.clock.advance(1)
            await self._database_caught_up()

    async def _database_caught_up(self) -> None:
        await self.database.quiet()
        if self.parts is not None and self._tasks:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self.parts.prices.flushed()

    async def until_healed(self) -> None:
        """Until the watch has begun and no gap is unfinished; the database takes real time, so that is the limit."""
        assert self.parts is not None
        async with asyncio.timeout(PATIENCE):
            while not self.parts.watch.begun or await self.fetch(UNFINISHED):
                await self.run(1)
                await asyncio.sleep(0.005)

    async def fetch(self, sql: str) -> list[Any]:
        async with self.database.connection("test") as connection:
            rows: list[Any] = await connection.fetch(sql)
            return rows

    async def assert_table_is_the_ledger(self, first_slot: int = 0) -> int:
        """Row for row; how many."""
        connection = await asyncpg.connect(self.dsn)
        try:
            stored = sorted(await truth.stored_prints(connection))
        finally:
            await connection.close()
        expected = sorted(
            truth.expected_print(line)
            for line in truth.ledger_rows(self.ledger)
            if line["slot"] >= first_slot
        )
        missing, surplus = set(expected) - set(stored), set(stored) - set(expected)
        assert not missing, f"{len(missing)} of {len(expected)} prints are missing, such as {min(missing)}"
        assert not surplus, f"{len(surplus)} rows are in no ledger, such as {min(surplus)}"
        assert len(stored) == len(expected)
        return len(stored)

    async def assert_table_is_the_ledger_later(self) -> int:
        """The same, once the last pushes have been stored."""
        await self.node.stop_pushing()
        await self.run(5)
        return await self.assert_table_is_the_ledger()

    async def close(self) -> None:
        await self.kill_daemon()
        await self.node.stop()
        await self.database.close()


Start = Callable[..., Awaitable[HealingWorld]]
