"""The model of config/quantdesk.toml: every key with its default and its limits.

Durations are in seconds, ratios in basis points, unless the key says otherwise. Key by key, with what each
does: config/quantdesk.toml, which a test holds equal to the defaults here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from quantdesk_oracle.model import Generation
from quantdesk_oracle.pricing.funding import TUNABLE, is_interval
from quantdesk_oracle.pricing.methods import METHODS
from quantdesk_oracle.pyth import addresses

NETWORKS = ("mainnet-beta", "devnet", "testnet", "localnet")


def _pubkey(text: str) -> str:
    if not addresses.is_pubkey(text):
        raise ValueError("is no account: expected 32 bytes in base58")
    return text


def _feed_id(text: str) -> str:
    bare = text.removeprefix("0x").lower()
    if len(bare) != 64 or set(bare) - set("0123456789abcdef"):
        raise ValueError("is no feed id: expected 64 hexadecimal digits")
    return bare


def _interval(seconds: int) -> int:
    if not is_interval(seconds):
        raise ValueError("is no funding interval: expected a multiple of 5 seconds that divides a day")
    return seconds


def _grid(seconds: Decimal) -> Decimal:
    if 60 % seconds:
        raise ValueError("is no grid: expected a number of seconds that divides a minute")
    return seconds


Pubkey = Annotated[str, AfterValidator(_pubkey)]
FeedId = Annotated[str, AfterValidator(_feed_id)]
Seconds = Annotated[Decimal, Field(gt=0, le=86_400)]
BasisPoints = Annotated[Decimal, Field(gt=0, le=10_000, decimal_places=2)]

Notional = Annotated[Decimal, Field(gt=0, le=1_000_000_000)]


def _method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"is no method: expected one of {', '.join(METHODS)}")
    return name


def _parameter(name: str) -> str:
    if name not in TUNABLE:
        raise ValueError(f"is no parameter of a method: expected one of {', '.join(TUNABLE)}")
    return name


MethodName = Annotated[str, AfterValidator(_method)]
ParameterName = Annotated[str, AfterValidator(_parameter)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EndpointSection(_Section):
    """One node of the network. Its URLs may hold keys, its name is what is shown."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    rpc_url: str
    ws_url: str = ""
    weight: Annotated[int, Field(ge=1, le=100)] = 1
    requests: Annotated[int, Field(ge=5, le=100_000)] = 100
    method_requests: Annotated[int, Field(ge=5, le=100_000)] = 40


class SolanaSection(_Section):
    network: Literal["mainnet-beta", "devnet", "testnet", "localnet"] = "mainnet-beta"
    rpc_urls: tuple[str, ...] = ()
    ws_urls: tuple[str, ...] = ()
    commitment: Literal["processed", "confirmed", "finalized"] = "confirmed"
    poll_interval: Annotated[Decimal, Field(ge=Decimal("0.2"), le=60)] = Decimal(2)
    request_timeout: Annotated[Decimal, Field(gt=0, le=60)] = Decimal(10)
    silence_limit: Annotated[Decimal, Field(ge=1, le=600)] = Decimal(30)
    endpoints: tuple[EndpointSection, ...] = ()
    subscriptions: Annotated[int, Field(ge=1, le=2)] = 1
    sweep_interval: Annotated[Decimal, Field(ge=10, le=86_400)] = Decimal(600)

    @model_validator(mode="after")
    def _names_are_unique(self) -> SolanaSection:
        names = [endpoint.name for endpoint in self.endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"solana.endpoints: {', '.join(twice)} stands there more than once")
        return self


class HermesSection(_Section):
    second_source: bool = False
    urls: Annotated[tuple[str, ...], Field(min_length=1)] = ("https://hermes.pyth.network",)
    benchmarks_url: str = "https://benchmarks.pyth.network"
    history: Literal["benchmarks", "hermes", "none"] = "benchmarks"
    requests: Annotated[int, Field(ge=2, le=100_000)] = 10
    request_timeout: Annotated[Decimal, Field(gt=0, le=60)] = Decimal(10)
    silence_limit: Annotated[Decimal, Field(ge=1, le=600)] = Decimal(15)


class DatabaseSection(_Section):
    pool_size: Annotated[int, Field(ge=2, le=64)] = 4
    batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    queue_rows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
    spool_megabytes: Annotated[int, Field(ge=1, le=1_000_000)] = 1_024
    command_timeout: Seconds = Decimal(15)


class HttpSection(_Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 9464


class LogSection(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class AcceptanceSection(_Section):
    future: Seconds = Decimal(5)
    uncertain_bp: BasisPoints = Decimal(200)
    implausible_factor: Annotated[int, Field(ge=2, le=1_000)] = 5
    quarantine_bp: BasisPoints = Decimal(1_000)
    wide_bp: BasisPoints = Decimal(25)
    accept_partial: bool = False


class UseSection(_Section):
    fresh: Seconds = Decimal(75)
    stale: Seconds = Decimal(180)
    proof_prints: Annotated[int, Field(ge=1, le=100)] = 3

    @model_validator(mode="after")
    def _ordered(self) -> UseSection:
        if self.stale < self.fresh:
            raise ValueError(f"stale is {self.stale}, expected at least fresh, {self.fresh}")
        return self


class MarkSection(_Section):
    interval: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60), AfterValidator(_grid)] = Decimal(1)
    band_bp: BasisPoints = Decimal(100)
    impact_notional: Notional = Decimal(20_000)
    method: MethodName = "quantdesk"
    notify: bool = False


class FundingSection(_Section):
    interval: Annotated[int, AfterValidator(_interval)] = 3600
    max_rate_bp: Annotated[int, Field(ge=1, le=10_000)] = 400
    settle_delay: Annotated[Decimal, Field(ge=1, le=60)] = Decimal(5)
    late_after: Annotated[Decimal, Field(ge=10, le=3_600)] = Decimal(60)


class PositionsSection(_Section):
    refresh: bool = False


class ClockSection(_Section):
    tolerance: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60)] = Decimal(2)


class MarketAcceptance(_Section):
    """A market's own thresholds; what is not given is as in [acceptance]."""

    uncertain_bp: BasisPoints | None = None
    implausible_factor: Annotated[int, Field(ge=2, le=1_000)] | None = None
    quarantine_bp: BasisPoints | None = None
    wide_bp: BasisPoints | None = None
    accept_partial: bool | None = None


class MarketUse(_Section):
    """A market's own limits of age; what is not given is as in [use]."""

    fresh: Seconds | None = None
    stale: Seconds | None = None
    proof_prints: Annotated[int, Field(ge=1, le=100)] | None = None


class MarketSection(_Section):
    symbol: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.-]*$")]
    base_asset: Annotated[str, Field(min_length=1, max_length=32)]
    quote_asset: Annotated[str, Field(min_length=1, max_length=32)] = "USD"
    source: Literal["solana", "hermes"] = "solana"
    feed_id: FeedId | None = None
    generations: tuple[Literal["core_upgraded", "core"], ...] = ("core_upgraded", "core")
    accounts: tuple[Pubkey, ...] = ()
    acceptance: MarketAcceptance = MarketAcceptance()
    use: MarketUse = MarketUse()
    band_bp: BasisPoints | None = None
    impact_notional: Notional | None = None
    method: MethodName | None = None
    parameters: dict[ParameterName, Annotated[Decimal, Field(ge=0, lt=10**15)]] = {}
    funding_interval: Annotated[int, AfterValidator(_interval)] | None = None
    max_funding_rate_bp: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _has_a_feed(self) -> MarketSection:
        if self.source == "hermes":
            if not self.feed_id or self.accounts:
                raise ValueError(
                    f"market {self.symbol} takes its prices from Hermes: give it a feed_id, and no accounts"
                )
            return self
        if not self.accounts and not (self.feed_id and self.generations):
            raise ValueError(f"market {self.symbol} has no feed: give it a feed_id, or accounts")
        return self

    @property
    def newest_first(self) -> tuple[Generation, ...]:
        """The generations to derive addresses for, newest first."""
        order = (Generation.CORE_UPGRADED, Generation.CORE)
        return tuple(generation for generation in order if generation in self.generations)


def _market(symbol: str, feed_id: str, **own: object) -> MarketSection:
    base = symbol.removesuffix("-PERP")
    return MarketSection.model_validate({"symbol": symbol, "base_asset": base, "feed_id": feed_id, **own})


DEFAULT_MARKETS = (
    _market("BTC-PERP", "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"),
    _market("ETH-PERP", "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"),
    _market(
        "SOL-PERP",
        "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d",
        acceptance={"wide_bp": Decimal(50)},
        band_bp=Decimal(200),
        impact_notional=Decimal(6_000),
    ),
)


class ConfigFile(_Section):
    """The whole file."""

    solana: SolanaSection = SolanaSection()
    hermes: HermesSection = HermesSection()
    database: DatabaseSection = DatabaseSection()
    http: HttpSection = HttpSection()
    log: LogSection = LogSection()
    acceptance: AcceptanceSection = AcceptanceSection()
    use: UseSection = UseSection()
    mark: MarkSection = MarkSection()
    funding: FundingSection = FundingSection()
    positions: PositionsSection = PositionsSection()
    clock: ClockSection = ClockSection()
    markets: Annotated[tuple[MarketSection, ...], Field(min_length=1)] = DEFAULT_MARKETS

    @model_validator(mode="after")
    def _ages_are_ordered(self) -> ConfigFile:
        for market in self.markets:
            fresh = self.use.fresh if market.use.fresh is None else market.use.fresh
            stale = self.use.stale if market.use.stale is None else market.use.stale
            if stale < fresh:
                raise ValueError(f"{market.symbol}: stale is {stale}, expected at least fresh, {fresh}")
        return self

    @model_validator(mode="after")
    def _symbols_are_unique(self) -> ConfigFile:
        symbols = [market.symbol for market in self.markets]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice:
            raise ValueError(f"markets: {', '.join(twice)} stands there more than once")
        return self
