"""What the rest of the house sees of the configuration: frozen values, durations already in their units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from quantdesk_oracle.model import Generation, Source
from quantdesk_oracle.pricing.acceptance import StorageLimits
from quantdesk_oracle.pricing.use import UseLimits

EMBEDDED = "embedded"
"""The DATABASE_URL that asks for the database of the state directory."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One Pyth account that a market's prints come from, or a feed on Hermes."""

    market: str
    pubkey: str
    """The account, base58; of a feed on Hermes its id in hexadecimal digits."""
    generation: Generation | None
    """None: whichever of Pyth's programs owns the account."""
    feed_id: bytes | None
    """What the account must say that it holds; None: not checked (legacy accounts do not say)."""
    configured_by: str | None = None
    """The variable or key that names the account; None where it is derived from the feed id."""
    source: Source | None = None
    """Who serves it where it is no account of the chain: Hermes."""

    @property
    def name(self) -> str:
        """How logs and metrics call it."""
        return f"{self.market}/{self.source or self.generation or self.pubkey[:8]}"

    @property
    def on_chain(self) -> bool:
        """Whether there is an account to read."""
        return self.source is None


@dataclass(frozen=True, slots=True)
class Market:
    """One perpetual market and everything that its prices are made by."""

    symbol: str
    base_asset: str
    quote_asset: str
    feeds: tuple[Feed, ...]
    """Newest generation first."""
    storage: StorageLimits
    use: UseLimits
    mark_band: Decimal
    funding_interval: int
    """Seconds; of a market that is not in the database yet. Afterwards the `markets` table decides."""
    max_funding_rate: int
    """Basis points per interval; likewise."""
    impact_notional: Decimal = Decimal(20_000)
    """Quote units that impact prices are for."""
    method: str = "quantdesk"
    """Named method of marks and funding, where the market's row names none."""
    parameters: tuple[tuple[str, Decimal], ...] = ()
    """Parameters of the method that differ from its defaults."""

    @property
    def feed_id(self) -> bytes | None:
        """The id of what it prices (32 bytes); None where no feed says."""
        return next((feed.feed_id for feed in self.feeds if feed.feed_id is not None), None)

    @property
    def on_hermes(self) -> bool:
        """Whether its prints come from Hermes, not from the chain."""
        return not self.feeds[0].on_chain


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One node: where it answers, and how it wants to be treated."""

    name: str
    """How logs, metrics and events call it; never its URL."""
    rpc_url: SecretStr
    ws_url: SecretStr
    weight: int = 1
    """The heaviest endpoint that is well is in use; of equals the first."""
    requests: int = 100
    """Requests that it takes in ten seconds."""
    method_requests: int = 40
    """Requests of one method that it takes in ten seconds."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How to reach the Solana network."""

    network: str
    endpoints: tuple[EndpointSettings, ...]
    commitment: str
    poll_interval: float
    request_timeout: float
    silence_limit: float
    """Seconds without a frame after which a connection counts as dead."""
    subscriptions: int = 1
    """Endpoints that are subscribed to at once; the first delivery of a print wins."""
    sweep_interval: float = 600.0
    """Seconds between two readings of each feed's newest signatures."""

    @property
    def rpc_urls(self) -> tuple[SecretStr, ...]:
        """The RPC URLs of all endpoints."""
        return tuple(endpoint.rpc_url for endpoint in self.endpoints)

    @property
    def ws_urls(self) -> tuple[SecretStr, ...]:
        """The websocket URLs of all endpoints."""
        return tuple(endpoint.ws_url for endpoint in self.endpoints)


@dataclass(frozen=True, slots=True)
class HermesSettings:
    """How to reach Hermes and Benchmarks, and what for."""

    second_source: bool
    """Whether the prints of accounts are compared with Hermes'."""
    urls: tuple[SecretStr, ...]
    """In order of preference."""
    benchmarks_url: SecretStr
    history: Source | None = Source.BENCHMARKS
    """Where what a stream has missed is read back from; None: nowhere."""
    key: SecretStr | None = None
    requests: int = 10
    """That each host takes in ten seconds."""
    request_timeout: float = 10.0
    """Seconds."""
    silence_limit: float = 15.0
    """Seconds without an event after which a stream counts as dead."""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """How to reach PostgreSQL and how much to hand it at once."""

    url: SecretStr
    schema_url: SecretStr
    pool_size: int
    batch_rows: int
    queue_rows: int
    spool_bytes: int
    """What the spool in the state directory may hold."""
    command_timeout: float


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a command needs to know."""

    node: NodeSettings
    database: DatabaseSettings
    markets: tuple[Market, ...]
    program_id: str
    state_dir: Path
    http_host: str
    http_port: int
    http_port_is_default: bool
    log_level: str
    log_format: str
    mark_interval: int
    """µs."""
    refresh_positions: bool
    """Whether open positions are brought to each new mark."""
    mark_notify: bool
    """Whether listeners of the channel quantdesk_marks are told of each mark."""
    settle_delay: int
    """µs."""
    late_after: int
    """µs."""
    clock_tolerance: int
    """µs that this machine's and the database's clock may differ."""
    supabase_url: str
    embedded_dsn: bool
    """Whether the database's URL is that of an embedded server, which holds no secret."""
    hermes: HermesSettings
    other_secrets: tuple[SecretStr, ...]
    """Read, never used but to keep them out of every log."""
    config_file: Path | None

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds of all markets."""
        return tuple(feed for market in self.markets for feed in market.feeds)

    @property
    def hermes_feeds(self) -> tuple[bytes, ...]:
        """The ids of the feeds to follow on Hermes, as a market's own or as its second source."""
        ids = (
            market.feed_id
            for market in self.markets
            if market.on_hermes or (self.hermes.second_source and market.feed_id is not None)
        )
        return tuple(dict.fromkeys(feed_id for feed_id in ids if feed_id is not None))

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one of the state directory."""
        return self.database.url.get_secret_value() == EMBEDDED

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret text, for the log's redaction."""
        hermes = self.hermes
        urls = (*self.node.rpc_urls, *self.node.ws_urls, self.database.url, self.database.schema_url)
        urls += (*hermes.urls, hermes.benchmarks_url)
        texts = tuple(url.get_secret_value() for url in urls)
        keys = (*self.other_secrets, *((hermes.key,) if hermes.key else ()))
        others = tuple(secret.get_secret_value() for secret in keys)
        return tuple(text for text in texts if _holds_a_secret(text)) + others


def redact_dsn(dsn: str) -> str:
    """``dsn`` with its password, and whatever a query parameter holds, as ``***``."""
    # Up to the last @: a password may hold one where somebody forgot to encode it.
    without_password = re.sub(r"//([^:/@]*):\S*@", r"//\1:***@", dsn)
    return re.sub(r"(?i)\b(password|sslpassword|passfile)=[^&\s]*", r"\1=***", without_password)


def endpoint_name(url: str) -> str:
    """How an endpoint is called in logs and metrics: its host and port, never its path, user or query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname or 'unknown'}{port}"


def _holds_a_secret(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password or parts.query or len(parts.path) > 1) and "://" in url
