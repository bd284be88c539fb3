"""JSON-RPC over HTTP: solders' requests, solana-py's transport, answers read here.

Live requests go to the endpoint in use; history is read with what its budget leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import httpx
import msgspec
from solana.rpc.providers.async_http import AsyncHTTPProvider
from solders.account_decoder import UiAccountEncoding
from solders.commitment_config import CommitmentLevel
from solders.pubkey import Pubkey
from solders.rpc.config import (
    RpcAccountInfoConfig,
    RpcContextConfig,
    RpcSignaturesForAddressConfig,
    RpcTransactionConfig,
)
from solders.rpc.requests import (
    GetFirstAvailableBlock,
    GetGenesisHash,
    GetMultipleAccounts,
    GetSignaturesForAddress,
    GetSlot,
    GetTransaction,
)
from solders.signature import Signature
from solders.transaction_status import UiTransactionEncoding

from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError, TransactionVersionError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pyth.addresses import GENESIS_HASHES
from quantdesk_oracle.sources import wire
from quantdesk_oracle.sources.bounded import UNCOMPRESSED, Connections, read_body
from quantdesk_oracle.sources.budget import Budget
from quantdesk_oracle.sources.endpoints import Endpoints

if TYPE_CHECKING:
    from solders.rpc.requests import Body

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config.settings import NodeSettings
    from quantdesk_oracle.ops.metrics import Metrics

COMMITMENTS = {
    "processed": CommitmentLevel.Processed,
    "confirmed": CommitmentLevel.Confirmed,
    "finalized": CommitmentLevel.Finalized,
}
ACCOUNTS_PER_REQUEST = 100
"""What getMultipleAccounts takes at most."""
SIGNATURES_PER_REQUEST = 1_000
"""What getSignaturesForAddress gives at most."""
MOST_BYTES = 16 << 20
"""Of an answer: a hundred accounts of 100 KB, in base64. What is asked for here has 0.5 MB at most."""
ANOTHER_CHAIN = 10_000
"""Slots, over an hour, by which two answers of one network never differ."""
_RECENT = 60 * SECOND
"""µs for which an endpoint's word on its slot counts."""
_HEADERS = {"Content-Type": "application/json", **UNCOMPRESSED}
_TRANSACTION_VERSION = 0
_TOO_MANY_REQUESTS = 429
_LONGEST_PATIENCE = 600.0
_T = TypeVar("_T")


class WrongClusterError(NodeError):
    """An endpoint that serves another cluster than the settings say."""

    kind = "wrong_cluster"


def account_config(commitment: str) -> RpcAccountInfoConfig:
    """How accounts are asked for, over HTTP and websocket alike."""
    return RpcAccountInfoConfig(encoding=UiAccountEncoding.Base64, commitment=COMMITMENTS[commitment])


class RpcClient:
    """Asks the endpoint in use, unless told which; counts, times and judges every request."""

    def __init__(
        self, settings: NodeSettings, metrics: Metrics, clock: Clock, transport: Transport | None = None
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self.endpoints = Endpoints(settings.endpoints, clock)
        self._transport: Transport = transport or HttpTransport(settings)
        self._budgets = [Budget(clock, one.requests, one.method_requests) for one in settings.endpoints]
        self._verified: set[int] = set()
        self._slots: dict[int, tuple[int, int]] = {}
        """What each endpoint said last of its slot, and when (µs)."""
        self.requests = 0
        """How many requests have been sent."""

    @property
    def endpoint(self) -> str:
        """The name of the endpoint in use."""
        return self.endpoints.active_name

    async def accounts(self, pubkeys: Sequence[str], at: int | None = None) -> wire.Accounts:
        """The state of ``pubkeys`` (at most 100), None for those that do not exist. Raises NodeError."""
        request = GetMultipleAccounts(
            [Pubkey.from_string(key) for key in pubkeys], account_config(self._settings.commitment)
        )
        answer = await self._live("getMultipleAccounts", request, wire.Accounts, at)
        if len(answer.value) != len(pubkeys):
            raise NodeProtocolError(
                f"{self.endpoint} answered {len(answer.value)} accounts, asked for {len(pubkeys)}"
            )
        self._note_slot(answer.context.slot, at)
        return answer

    async def slot(self, at: int | None = None) -> int:
        """The node's slot at the commitment of the settings. Raises NodeError."""
        config = RpcContextConfig(COMMITMENTS[self._settings.commitment])
        slot = await self._live("getSlot", GetSlot(config), int, at)
        self._note_slot(slot, at)
        return slot

    def on_another_chain(self, slot: int, at: int) -> bool | None:
        """Whether ``slot`` is so far from what the endpoint itself has just said that it is another network's.

        None where it has said nothing within a minute.
        """
        said, when = self._slots.get(at, (0, 0))
        return None if self._clock.now() - when >= _RECENT else abs(slot - said) > ANOTHER_CHAIN

    def has_told_its_slot(self, at: int) -> bool:
        """Whether the endpoint has ever said what its slot is."""
        return at in self._slots

    def _note_slot(self, slot: int, at: int | None) -> None:
        self._slots[self.endpoints.active if at is None else at] = (slot, self._clock.now())

    async def signatures(
        self,
        address: str,
        *,
        before: str | None = None,
        limit: int = SIGNATURES_PER_REQUEST,
        at_least: int | None = None,
    ) -> list[wire.SignatureInfo]:
        """Transactions that touched ``address``, newest first, those older than ``before``.

        Raises NodeError; NodeBehindError where the node has not reached slot ``at_least``.
        """
        config = RpcSignaturesForAddressConfig(
            before=Signature.from_string(before) if before else None,
            limit=limit,
            commitment=self._history_commitment,
            min_context_slot=at_least,
        )
        request = GetSignaturesForAddress(Pubkey.from_string(address), config)
        listed = await self._spare("getSignaturesForAddress", request, list[wire.SignatureInfo])
        for info in listed:  # each is asked for later, and as the next page's beginning
            try:
                Signature.from_string(info.signature)
            except ValueError:
                raise NodeProtocolError(
                    f"{self.endpoint} lists no signature: {info.signature[:100]!r}"
                ) from None
        return listed

    async def transaction(self, signature: str) -> wire.Transaction | None:
        """One transaction; None where no endpoint has it any more, or has it as we can read it. Raises NodeError."""
        config = RpcTransactionConfig(
            encoding=UiTransactionEncoding.Json,
            commitment=self._history_commitment,
            max_supported_transaction_version=_TRANSACTION_VERSION,
        )
        request = GetTransaction(Signature.from_string(signature), config)
        for rank in range(len(self.endpoints)):
            at = self.endpoints.follower(rank)
            found: wire.Transaction | None = None
            with contextlib.suppress(TransactionVersionError):
                found = await self._spare("getTransaction", request, wire.OPTIONAL_TRANSACTION, at)
            if found is not None:
                return found
        return None

    async def first_available_block(self) -> int:
        """The oldest slot of which the endpoint in use keeps transactions. Raises NodeError."""
        return await self._spare("getFirstAvailableBlock", GetFirstAvailableBlock(), int)

    async def verify_cluster(self, at: int | None = None) -> None:
        """Make sure that an endpoint, by default the one in use, serves the network of the settings.

        Asked once an endpoint. Raises WrongClusterError, or another NodeError where it does not answer.
        """
        at = self.endpoints.active if at is None else at
        expected = GENESIS_HASHES.get(self._settings.network)
        if expected is None or at in self._verified:
            return
        found = await self._live("getGenesisHash", GetGenesisHash(), str, at)
        self.endpoints.healths[at].usable = found == expected
        if found != expected:
            cluster = next((name for name, known in GENESIS_HASHES.items() if known == found), found)
            raise WrongClusterError(
                f"{self.endpoints.names[at]} serves {cluster}, SOLANA_NETWORK says {self._settings.network}: "
                "set RPC_URL and WS_URL to endpoints of that network, or SOLANA_NETWORK to theirs"
            )
        self._verified.add(at)

    def forget_cluster(self, at: int) -> None:
        """Ask the endpoint again which cluster it serves: whoever answers there may be another one now."""
        self._verified.discard(at)

    def count_error(self, error: NodeError) -> None:
        """Count what is wrong with an answer of the endpoint in use that looked like one."""
        self._metrics.endpoint(self.endpoint).errors[error.kind].inc()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    @property
    def _history_commitment(self) -> CommitmentLevel:
        """History is not kept of what is only processed."""
        wanted = COMMITMENTS[self._settings.commitment]
        return CommitmentLevel.Confirmed if wanted == CommitmentLevel.Processed else wanted

    async def _live(self, method: str, request: Body, kind: type[_T], at: int | None) -> _T:
        at = self.endpoints.active if at is None else at
        return await self._ask(at, method, request, kind, self._budgets[at].live)

    async def _spare(self, method: str, request: Body, kind: type[_T], at: int | None = None) -> _T:
        at = self.endpoints.active if at is None else at
        return await self._ask(at, method, request, kind, self._budgets[at].spare)

    async def _ask(
        self, at: int, method: str, request: Body, kind: type[_T], take: Callable[[str], Awaitable[None]]
    ) -> _T:
        await take(method)
        self.requests += 1
        metrics, health = self._metrics.endpoint(self.endpoints.names[at]), self.endpoints.healths[at]
        started = time.monotonic()
        try:
            text = await self._transport.post(at, request)
            answer = wire.read_result(text, kind, self.endpoints.names[at])
        except NodeError as error:
            metrics.errors[error.kind].inc()
            health.failed()
            if isinstance(error, RateLimitedError):
                self._budgets[at].pause(error.retry_after)
            raise
        seconds = time.monotonic() - started
        metrics.request_duration[method].observe(seconds)
        health.succeeded(seconds)
        return answer


class Transport(Protocol):
    """Carries requests to endpoints, which are known by their position."""

    async def post(self, at: int, request: Body) -> str:
        """The answer's text. Raises NodeError."""

    async def close(self) -> None:
        """Close every connection."""


class HttpTransport:
    """solana-py's HTTP provider for each endpoint. Its answers are read here: it would read whatever is sent."""

    def __init__(self, settings: NodeSettings) -> None:
        self._timeout = settings.request_timeout
        self._names = [one.name for one in settings.endpoints]
        self._urls = [one.rpc_url.get_secret_value() for one in settings.endpoints]
        self._connections = [Connections(partial(_session, url, self._timeout)) for url in self._urls]

    async def post(self, at: int, request: Body) -> str:
        name = self._names[at]
        try:
            # Of the whole: httpx' own begins anew with every byte that drips in.
            async with asyncio.timeout(self._timeout):
                return await self._answer(at, request)
        except NodeProtocolError as error:
            raise NodeProtocolError(f"{name}: {error}") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, TimeoutError) as error:
            # httpx' own text may hold the URL, and a URL may hold a key.
            raise NodeError(f"{name} does not answer ({type(error).__name__})") from None

    async def close(self) -> None:
        for connections in self._connections:
            await connections.close()

    async def _answer(self, at: int, request: Body) -> str:
        asked = self._connections[at].answer(
            "POST", self._urls[at], content=request.to_json(), headers=_HEADERS
        )
        async with asked as response:
            patience = patience_in(response.headers.items())
            if not response.is_success:
                raise status_error(self._names[at], response.status_code, patience)
            text = (await read_body(response, MOST_BYTES)).decode(errors="replace")
        if patience is not None:
            _heed(text, self._names[at], patience)
        return text


def _session(url: str, timeout: float) -> httpx.AsyncClient:
    return AsyncHTTPProvider(url, timeout=timeout).session


def status_error(name: str, status: int, patience: float | None) -> NodeError:
    """The error that an HTTP status stands for; ``patience``: the seconds that the answer asks for."""
    if status == _TOO_MANY_REQUESTS:
        return RateLimitedError(f"{name} asks for patience (HTTP 429)", patience)
    return NodeError(f"{name} answers HTTP {status}")


def patience_in(headers: Iterable[tuple[str, str]]) -> float | None:
    """The Retry-After among an answer's headers, in seconds, ten minutes at most; None where none can be read.

    One that is a date is held against the answer's own Date: this machine's clock may be another.
    """
    told = {name.lower(): value for name, value in headers}
    asked = told.get("retry-after", "")
    try:
        seconds = float(asked)
    except ValueError:
        seconds = _seconds_until(asked, told.get("date", ""))
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_PATIENCE)


def _seconds_until(then: str, now: str) -> float:
    """Between two dates of HTTP; NaN where one of them is none."""
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError, OverflowError):  # a zone that one of them lacks is the first
        return math.nan


def _heed(text: str, name: str, patience: float) -> None:
    """Raise the RateLimitedError that an answer of HTTP 200 may hold, with the seconds that its header asks for."""
    try:
        wire.read_result(text, msgspec.Raw, name)
    except RateLimitedError as error:
        error.retry_after = patience
        raise
    except NodeError:
        pass  # whoever asked reads it again, and is told
