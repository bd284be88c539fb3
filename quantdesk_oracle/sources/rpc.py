"""JSON-RPC over HTTP to whichever of the endpoints answers: solders' requests, solana-py's transport."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import httpx
import msgspec
from solana.rpc.providers.async_http import AsyncHTTPProvider
from solders.account_decoder import UiAccountEncoding
from solders.commitment_config import CommitmentLevel
from solders.pubkey import Pubkey
from solders.rpc.config import RpcAccountInfoConfig
from solders.rpc.requests import GetGenesisHash, GetMultipleAccounts

from quantdesk_oracle.config import endpoint_name
from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.pyth.addresses import GENESIS_HASHES
from quantdesk_oracle.sources import wire

if TYPE_CHECKING:
    from solders.rpc.requests import Body

    from quantdesk_oracle.config.settings import NodeSettings
    from quantdesk_oracle.ops.metrics import Metrics

COMMITMENTS = {
    "processed": CommitmentLevel.Processed,
    "confirmed": CommitmentLevel.Confirmed,
    "finalized": CommitmentLevel.Finalized,
}
ACCOUNTS_PER_REQUEST = 100
"""What getMultipleAccounts takes at most."""
_TOO_MANY_REQUESTS = 429
_T = TypeVar("_T")


class WrongClusterError(NodeError):
    """An endpoint that serves another cluster than the settings say."""

    kind = "wrong_cluster"


def account_config(commitment: str) -> RpcAccountInfoConfig:
    """How accounts are asked for, over HTTP and websocket alike."""
    return RpcAccountInfoConfig(encoding=UiAccountEncoding.Base64, commitment=COMMITMENTS[commitment])


class RpcClient:
    """Asks the endpoint in use; one that fails is left for the next one in the list."""

    def __init__(self, settings: NodeSettings, metrics: Metrics) -> None:
        urls = [url.get_secret_value() for url in settings.rpc_urls]
        self._settings = settings
        self._metrics = metrics
        self._providers = [AsyncHTTPProvider(url, timeout=settings.request_timeout) for url in urls]
        self.names = self.endpoint_names(settings)
        self._verified: set[int] = set()
        self.active = 0
        """Which endpoint is in use, by position; the subscription follows it."""

    @staticmethod
    def endpoint_names(settings: NodeSettings) -> tuple[str, ...]:
        """How the settings' endpoints are called."""
        return tuple(endpoint_name(url.get_secret_value()) for url in settings.rpc_urls)

    @property
    def endpoint(self) -> str:
        """The name of the endpoint in use."""
        return self.names[self.active]

    async def accounts(self, pubkeys: Sequence[str]) -> wire.Accounts:
        """The state of ``pubkeys`` (at most 100), None for those that do not exist. Raises NodeError."""
        request = GetMultipleAccounts(
            [Pubkey.from_string(key) for key in pubkeys], account_config(self._settings.commitment)
        )
        answer = await self._ask("getMultipleAccounts", request, wire.Accounts)
        if len(answer.value) != len(pubkeys):
            raise NodeProtocolError(
                f"{self.endpoint} answered {len(answer.value)} accounts, asked for {len(pubkeys)}"
            )
        return answer

    async def verify_cluster(self) -> None:
        """Make sure that the endpoint in use serves the network of the settings.

        Asked once an endpoint. Raises WrongClusterError, or another NodeError where it does not answer.
        """
        expected = GENESIS_HASHES.get(self._settings.network)
        if expected is None or self.active in self._verified:
            return
        found = await self._ask("getGenesisHash", GetGenesisHash(), str)
        if found != expected:
            cluster = next((name for name, known in GENESIS_HASHES.items() if known == found), found)
            raise WrongClusterError(
                f"{self.endpoint} serves {cluster}, SOLANA_NETWORK says {self._settings.network}: "
                "set RPC_URL and WS_URL to endpoints of that network, or SOLANA_NETWORK to theirs"
            )
        self._verified.add(self.active)

    def fail_over(self) -> None:
        """Use the next endpoint in the list from now on."""
        self._metrics.endpoint(self.endpoint).active.set(0)
        self.active = (self.active + 1) % len(self._providers)
        self._metrics.endpoint(self.endpoint).active.set(1)

    async def close(self) -> None:
        """Close every connection."""
        for provider in self._providers:
            await provider.close()

    async def _ask(self, method: str, request: Body, kind: type[_T]) -> _T:
        endpoint = self._metrics.endpoint(self.endpoint)
        started = time.monotonic()
        try:
            text = await self._send(request)
            answer = self._parse(text, kind)
        except NodeError as error:
            endpoint.errors[error.kind].inc()
            raise
        endpoint.request_duration[method].observe(time.monotonic() - started)
        return answer

    async def _send(self, request: Body) -> str:
        try:
            return await self._providers[self.active].make_request_unparsed(request)
        except httpx.HTTPStatusError as error:
            raise self._status_error(error.response) from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            # httpx' own text may hold the URL, and a URL may hold a key.
            raise NodeError(f"{self.endpoint} does not answer ({type(error).__name__})") from None

    def _status_error(self, response: httpx.Response) -> NodeError:
        if response.status_code == _TOO_MANY_REQUESTS:
            return RateLimitedError(
                f"{self.endpoint} asks for patience (HTTP 429)", _seconds(response.headers.get("retry-after"))
            )
        return NodeError(f"{self.endpoint} answers HTTP {response.status_code}")

    def _parse(self, text: str, kind: type[_T]) -> _T:
        try:
            envelope = msgspec.json.decode(text, type=wire.Envelope)
            if envelope.error is not None:
                raise wire.error_of(envelope.error, self.endpoint)
            return msgspec.json.decode(envelope.result, type=kind)
        except msgspec.MsgspecError as error:
            raise NodeProtocolError(f"{self.endpoint} answers what cannot be read: {error}") from None


def _seconds(header: str | None) -> float | None:
    """A Retry-After in seconds; the form that is a date is not used by any node and counts as none."""
    try:
        return min(float(header), 600.0) if header else None
    except ValueError:
        return None
