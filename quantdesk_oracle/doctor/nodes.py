"""Each endpoint: does it answer, for which cluster, how far behind, how fast, and does its websocket deliver?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from solders.sysvar import CLOCK
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from quantdesk_oracle.config import endpoint_name
from quantdesk_oracle.doctor.findings import Finding, Grade, fail, ok, skip, warn
from quantdesk_oracle.errors import NodeError
from quantdesk_oracle.pyth.addresses import GENESIS_HASHES
from quantdesk_oracle.sources.rpc import ANOTHER_CHAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Settings

PATIENCE = 10.0
"""Seconds that an endpoint has for each answer."""
SLOW = 1.0
"""Seconds of an answer that deserve a word."""
BEHIND_SLOTS = 50
"""Slots behind the best endpoint, 20 s, that deserve a word."""
CHAIN_AGE = 30.0
"""Seconds by which a node's newest block may be older than this machine's clock."""
_TOO_MANY_REQUESTS = 429


@dataclass(slots=True)
class Node:
    """One endpoint and what has been learnt of it."""

    name: str
    rpc_url: str
    ws_url: str
    reachable: bool = False
    right_cluster: bool = False
    slot: int | None = None
    findings: list[Finding] = field(default_factory=list)


class AskError(NodeError):
    """An endpoint that does not answer as it should; ``code`` is that of the finding."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


async def ask(client: httpx.AsyncClient, node: Node, method: str, *parameters: object) -> Any:
    """The result of one JSON-RPC request. Raises AskError, whose text holds no URL."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    try:
        answer = await client.post(node.rpc_url, json=request)
        body = msgspec.json.decode(answer.content) if answer.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AskError("node.unreachable", f"does not answer ({_reason(error)})") from None
    except msgspec.MsgspecError:
        raise AskError("node.protocol", f"answers {method} with something that is no JSON") from None
    if answer.status_code == _TOO_MANY_REQUESTS:
        raise AskError("node.rate_limited", "asks for patience (HTTP 429)")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise AskError("node.refused", f"refuses (HTTP {answer.status_code})")
    if answer.status_code != httpx.codes.OK:
        raise AskError("node.unreachable", f"answers HTTP {answer.status_code}")
    if not isinstance(body, dict) or "result" not in body:
        error_body = body.get("error") if isinstance(body, dict) else None
        code = error_body.get("code") if isinstance(error_body, dict) else error_body
        kind = "node.rate_limited" if code == _TOO_MANY_REQUESTS else "node.protocol"
        raise AskError(kind, f"refuses {method} (error {code})")
    return body["result"]


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError):
        return "no connection: the host is unknown, nothing listens there, or TLS fails"
    if isinstance(error, httpx.TimeoutException):
        return f"not within {PATIENCE:g} s"
    return type(error).__name__


_CURES = {
    "node.unreachable": "Check the URL in RPC_URL, and the network between; name a second endpoint for failover.",
    "node.refused": "Check the API key inside RPC_URL.",
    "node.rate_limited": "Use an endpoint with a plan of your own: set RPC_URL.",
    "node.protocol": "Check that RPC_URL is the URL of a Solana JSON-RPC endpoint.",
}


def nodes_of(settings: Settings) -> list[Node]:
    """The endpoints of the settings."""
    pairs = zip(settings.node.rpc_urls, settings.node.ws_urls, strict=True)
    urls = [(rpc.get_secret_value(), ws.get_secret_value()) for rpc, ws in pairs]
    return [Node(endpoint_name(rpc), rpc, ws) for rpc, ws in urls]


async def examine_nodes(
    client: httpx.AsyncClient, nodes: Sequence[Node], settings: Settings, clock: Clock
) -> None:
    """Ask each endpoint; what is found is with the node."""
    await asyncio.gather(*(_examine(client, node, settings, clock) for node in nodes))
    best = max((node.slot for node in nodes if node.right_cluster and node.slot is not None), default=None)
    for node in nodes:
        if best is not None and node.slot is not None and node.right_cluster:
            node.findings.append(_lag(node, best))


async def _examine(client: httpx.AsyncClient, node: Node, settings: Settings, clock: Clock) -> None:
    started = time.monotonic()
    try:
        genesis = await ask(client, node, "getGenesisHash")
        latency = time.monotonic() - started
        node.reachable = True
        node.findings.append(_latency(node, latency))
        node.findings.append(_cluster(node, genesis, settings.node.network))
        node.slot = int(await ask(client, node, "getSlot", {"commitment": settings.node.commitment}))
        node.findings.append(await _chain_age(client, node, clock))
    except AskError as error:
        node.findings.append(fail(error.code, node.name, f"{node.name} {error}.", _CURES[error.code]))
    node.findings.append(await _websocket(node, settings))


def _latency(node: Node, seconds: float) -> Finding:
    said = f"answers in {seconds * 1000:.0f} ms."
    if seconds > SLOW:
        cure = "Use an endpoint that is nearer or has less to do."
        return warn("node.slow", node.name, said, cure, latency_seconds=round(seconds, 4))
    return ok("node.latency", node.name, said, latency_seconds=round(seconds, 4))


def _cluster(node: Node, genesis: object, network: str) -> Finding:
    expected = GENESIS_HASHES.get(network)
    cluster = next(
        (name for name, known in GENESIS_HASHES.items() if known == genesis), f"unknown ({genesis})"
    )
    node.right_cluster = expected is None or genesis == expected
    if not node.right_cluster:
        cure, line = f"Set RPC_URL and WS_URL to endpoints of {network}", {}
        if cluster in GENESIS_HASHES:
            cure += f", or set SOLANA_NETWORK={cluster}, which is what this one serves"
            line = {"line": f"SOLANA_NETWORK={cluster}"}
        return fail(
            "node.wrong_cluster",
            node.name,
            f"serves {cluster} by its genesis hash, while SOLANA_NETWORK is {network}.",
            f"{cure}.",
            genesis=str(genesis),
            **line,
        )
    return ok("node.cluster", node.name, f"serves {cluster if expected else network}.", genesis=str(genesis))


async def _chain_age(client: httpx.AsyncClient, node: Node, clock: Clock) -> Finding:
    try:
        block_time = await ask(client, node, "getBlockTime", node.slot)
    except AskError:
        return skip("node.chain_age", node.name, "does not tell the time of its newest block.")
    age = clock.now() / 1_000_000 - float(block_time)
    if abs(age) > CHAIN_AGE:
        return warn(
            "node.clock_or_lag",
            node.name,
            f"its newest block is {age:.0f} s {'older' if age > 0 else 'ahead'} by this machine's clock.",
            "Set the clock (NTP) if all endpoints say so; otherwise this node has stopped: use another.",
            age_seconds=round(age, 1),
        )
    return ok("node.chain_age", node.name, f"its newest block is {age:.0f} s old.", age_seconds=round(age, 1))


def _lag(node: Node, best: int) -> Finding:
    assert node.slot is not None
    lag = best - node.slot
    if lag > BEHIND_SLOTS:
        return warn(
            "node.behind", node.name, f"is {lag} slots behind the best endpoint.", "Use another.", slots=lag
        )
    return ok("node.slot", node.name, f"is at slot {node.slot}.", slot=node.slot)


async def _websocket(node: Node, settings: Settings) -> Finding:
    """Whether a subscription is taken and really delivers: a slot comes every 0.4 s on any healthy node."""
    name = endpoint_name(node.ws_url)
    try:
        async with (
            asyncio.timeout(PATIENCE),
            connect(node.ws_url, max_size=1 << 20, close_timeout=1) as socket,
        ):
            waited, slot = await _first_slot(socket, _an_account(settings), settings.node.commitment)
    except TimeoutError:
        found, cure = "takes the connection, but nothing arrives on its subscription", "Use another endpoint."
    except InvalidStatus as error:
        found = f"refuses the websocket (HTTP {error.response.status_code})"
        cure = "Check WS_URL and the key inside; some plans have no websocket."
    except (InvalidHandshake, InvalidURI, WebSocketException, OSError, EOFError) as error:
        found = f"takes no websocket connection ({type(error).__name__})"
        cure = "Check WS_URL and what lies between: a proxy or firewall that lets HTTP pass only."
    except (KeyError, TypeError, ValueError):
        found, cure = "brings slots that are none", "Check WS_URL: it must be that of a Solana node."
    except _SubscriptionRefusedError as error:
        found, cure = f"refuses a subscription: {error}", "Use an endpoint that offers accountSubscribe."
    else:
        if node.slot is not None and abs(slot - node.slot) > ANOTHER_CHAIN:
            return fail(
                "websocket.wrong_cluster",
                name,
                f"its websocket is at slot {slot}, {node.name} at {node.slot}: they serve different clusters.",
                "Leave WS_URL empty, so that it follows from RPC_URL; or name the websocket of that very endpoint.",
                slot=slot,
            )
        said = f"its websocket brings a slot after {waited:.1f} s."
        return ok("websocket.delivers", name, said, seconds=round(waited, 2))
    if node.reachable:
        found += "; prices come by polling alone, later and dearer"
    return Finding(Grade.WARN if node.reachable else Grade.FAIL, "websocket.blocked", name, f"{found}.", cure)


def _an_account(settings: Settings) -> str:
    """An account to subscribe to: a feed's, or, where all prices come from elsewhere, the clock's."""
    return next((feed.pubkey for feed in settings.feeds if feed.on_chain), str(CLOCK))


class _SubscriptionRefusedError(NodeError):
    """The node answers a subscription with an error."""


async def _first_slot(socket: ClientConnection, pubkey: str, commitment: str) -> tuple[float, int]:
    """Seconds until a slot came, and which."""
    started = time.monotonic()
    options = {"encoding": "base64", "commitment": commitment}
    requests: tuple[tuple[str, list[object]], ...] = (
        ("accountSubscribe", [pubkey, options]),
        ("slotSubscribe", []),
    )
    for number, (method, parameters) in enumerate(requests):
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
        await socket.send(msgspec.json.encode(body).decode())
    while True:
        try:
            frame = msgspec.json.decode(await socket.recv())
        except msgspec.MsgspecError:
            continue
        if isinstance(frame, dict) and frame.get("error") is not None:
            raise _SubscriptionRefusedError(str(frame["error"])[:200])
        if isinstance(frame, dict) and frame.get("method") == "slotNotification":
            return time.monotonic() - started, int(frame["params"]["result"]["slot"])
