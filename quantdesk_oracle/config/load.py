"""File and environment to one frozen Settings, with every problem listed at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from quantdesk_oracle.config.environment import NETWORK_VARIABLES, Environment
from quantdesk_oracle.config.file import ConfigFile, HermesSection, MarketSection, SolanaSection
from quantdesk_oracle.config.settings import (
    DatabaseSettings,
    EndpointSettings,
    Feed,
    HermesSettings,
    Market,
    NodeSettings,
    Settings,
    endpoint_name,
)
from quantdesk_oracle.config.urls import database_problems, url_problems, websocket_url
from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND, Generation, Source
from quantdesk_oracle.pricing.acceptance import StorageLimits
from quantdesk_oracle.pricing.use import UseLimits
from quantdesk_oracle.pyth import addresses

PUBLIC_RPC = {
    "mainnet-beta": "https://api.mainnet-beta.solana.com",
    "devnet": "https://api.devnet.solana.com",
    "testnet": "https://api.testnet.solana.com",
    "localnet": "http://127.0.0.1:8899",
}
_PPM_PER_BP = 100
_MOST_DIGITS = 9
_SHOWN = 80
"""Characters of a wrong value that are repeated to whoever wrote it."""
NO_DATABASE = (
    "DATABASE_URL is not set. Set it to the database that QuantDesk reads "
    "(postgresql://user:password@host:5432/name), or to `embedded` for a private database in the state "
    "directory; `quantdesk-oracle run --demo` needs none."
)


def load_settings(
    *,
    config_file: Path | None = None,
    env_file: Path | None = None,
    state_dir: Path | None = None,
    database: str | None = None,
    own_network: bool = False,
) -> Settings:
    """Read the file and the environment.

    ``database`` stands in for DATABASE_URL where a command knows its own; with ``own_network`` it brings
    nodes and accounts too, and the variables that name some are passed over. Raises ConfigError that lists
    everything that is wrong.
    """
    environment = read_environment(env_file)
    if own_network:
        environment = environment.model_copy(update=dict.fromkeys(NETWORK_VARIABLES, ""))
    problems: list[str] = []
    named = config_file or (Path(environment.QUANTDESK_CONFIG) if environment.QUANTDESK_CONFIG else None)
    content = _read(named, problems) if named else {}
    _overlay(content, environment, problems)
    file = _validate(content, named, problems)
    url = environment.DATABASE_URL if database is None else database
    problems.extend(database_problems("DATABASE_URL", url) if url else [NO_DATABASE])
    problems.extend(database_problems("SCHEMA_DATABASE_URL", environment.SCHEMA_DATABASE_URL))
    accounts = _accounts(file, environment, problems)
    if problems:
        raise ConfigError(problems)
    return _settings(file, environment, accounts, url, state_dir, named)


def read_environment(env_file: Path | None = None) -> Environment:
    """The environment, and ``env_file`` below it. Raises ConfigError where that cannot be read."""
    if env_file is not None and not env_file.is_file():
        raise ConfigError([f"{env_file}: no such file; check --env-file"])
    try:
        return Environment(_env_file=env_file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{env_file}: cannot be read ({error}); check --env-file"]) from None


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream, parse_float=Decimal)
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); check --config or QUANTDESK_CONFIG")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        problems.append(f"{path}: is no TOML: {error}")
    return {}


def _overlay(content: dict[str, Any], environment: Environment, problems: list[str]) -> None:
    """Lay the variables over the file's content; the file's model then checks them like any other value."""
    variables = {
        ("solana", "network"): environment.SOLANA_NETWORK,
        ("solana", "rpc_urls"): _list(environment.RPC_URL),
        ("solana", "ws_urls"): _list(environment.WS_URL),
        ("http", "host"): environment.QUANTDESK_HTTP_HOST,
        ("http", "port"): _integer("QUANTDESK_HTTP_PORT", environment.QUANTDESK_HTTP_PORT, problems),
        ("log", "level"): environment.QUANTDESK_LOG_LEVEL.lower(),
        ("log", "format"): environment.QUANTDESK_LOG_FORMAT.lower(),
    }
    for (section, key), value in variables.items():
        if not value and value != 0:
            continue
        if isinstance(content.setdefault(section, {}), dict):
            content[section][key] = value


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _integer(name: str, text: str, problems: list[str]) -> int | None:
    if not text:
        return None
    if text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text)
    problems.append(f"{name} is {text[:_SHOWN]!r}, expected a whole number")
    return None


_VARIABLE_OF_KEY = {
    "solana.network": "SOLANA_NETWORK",
    "http.host": "QUANTDESK_HTTP_HOST",
    "http.port": "QUANTDESK_HTTP_PORT",
    "log.level": "QUANTDESK_LOG_LEVEL",
    "log.format": "QUANTDESK_LOG_FORMAT",
}


_URL_KEYS = (
    ("solana", "rpc_urls"),
    ("solana", "ws_urls"),
    ("solana", "endpoints"),
    ("hermes", "urls"),
    ("hermes", "benchmarks_url"),
)
"""Keys whose values are not repeated: a URL may hold a key."""


def _validate(content: Mapping[str, Any], path: Path | None, problems: list[str]) -> ConfigFile:
    try:
        file = ConfigFile.model_validate(content)
    except ValidationError as error:
        problems.extend(_sentence(detail, path) for detail in error.errors())
        return ConfigFile()
    for key, urls in (("rpc_urls", file.solana.rpc_urls), ("ws_urls", file.solana.ws_urls)):
        schemes = ("http", "https") if key == "rpc_urls" else ("ws", "wss")
        problems.extend(url_problems(f"solana.{key}", urls, schemes))
    for position, endpoint in enumerate(file.solana.endpoints):
        key = f"solana.endpoints[{position}]"
        problems.extend(url_problems(f"{key}.rpc_url", (endpoint.rpc_url,), ("http", "https")))
        if endpoint.ws_url:
            problems.extend(url_problems(f"{key}.ws_url", (endpoint.ws_url,), ("ws", "wss")))
    problems.extend(url_problems("hermes.urls", file.hermes.urls, ("http", "https")))
    problems.extend(url_problems("hermes.benchmarks_url", (file.hermes.benchmarks_url,), ("http", "https")))
    if file.solana.ws_urls and file.solana.rpc_urls and len(file.solana.ws_urls) != len(file.solana.rpc_urls):
        problems.append(
            f"WS_URL names {len(file.solana.ws_urls)} endpoints and RPC_URL {len(file.solana.rpc_urls)}: "
            "give one websocket URL for each RPC URL, in the same order, or none"
        )
    return file


def _sentence(detail: Any, path: Path | None) -> str:
    """One of pydantic's errors as a sentence that names key and value."""
    key = ".".join(str(part) for part in detail["loc"]) or "file"
    where = f"{path}: " if path else ""
    variable = f" (or {_VARIABLE_OF_KEY[key]})" if key in _VARIABLE_OF_KEY else ""
    if detail["type"] == "extra_forbidden":
        return f"{where}{key} is no key that is known; see config/quantdesk.toml for all of them"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error" and isinstance(detail["input"], Mapping):
        return f"{where}{message}"
    if detail["loc"][:2] in _URL_KEYS:
        return f"{where}{key}{variable}: {message}"
    return f"{where}{key}{variable} is {_shown(detail['input'])}: {message}"


def _shown(value: Any) -> str:
    try:
        return repr(str(value)[:_SHOWN])
    except RecursionError:  # tables in tables, a thousand deep
        return "nested too deeply to show"


def _accounts(file: ConfigFile, environment: Environment, problems: list[str]) -> dict[str, tuple[str, str]]:
    """Market symbol → (variable, account), for the markets whose account a variable names."""
    accounts = {}
    for market in file.markets:
        variable, account = environment.oracle_account(market.base_asset)
        if not account:
            continue
        if market.source == "hermes":
            problems.append(
                f"{variable} names an account, and {market.symbol} takes its prices from Hermes: remove one of the two"
            )
        if not addresses.is_pubkey(account):
            problems.append(f"{variable} is {account!r}, expected an account: 32 bytes in base58")
        accounts[market.symbol] = (variable, account)
    return accounts


def _settings(
    file: ConfigFile,
    environment: Environment,
    accounts: Mapping[str, tuple[str, str]],
    url: str,
    state_dir: Path | None,
    path: Path | None,
) -> Settings:
    return Settings(
        node=_node(file),
        database=DatabaseSettings(
            url=SecretStr(url),
            schema_url=SecretStr(environment.SCHEMA_DATABASE_URL or url),
            pool_size=file.database.pool_size,
            batch_rows=file.database.batch_rows,
            queue_rows=file.database.queue_rows,
            spool_bytes=file.database.spool_megabytes * 1_000_000,
            command_timeout=float(file.database.command_timeout),
        ),
        markets=tuple(_market(market, file, accounts.get(market.symbol)) for market in file.markets),
        program_id=environment.PROGRAM_ID,
        state_dir=state_dir or default_state_dir(environment),
        http_host=file.http.host,
        http_port=file.http.port,
        http_port_is_default="port" not in file.http.model_fields_set,
        log_level=file.log.level,
        log_format=file.log.format,
        mark_interval=_micros(file.mark.interval),
        mark_notify=file.mark.notify,
        refresh_positions=file.positions.refresh,
        settle_delay=_micros(file.funding.settle_delay),
        late_after=_micros(file.funding.late_after),
        clock_tolerance=_micros(file.clock.tolerance),
        supabase_url=environment.SUPABASE_URL,
        embedded_dsn=False,
        hermes=_hermes(file.hermes, environment),
        other_secrets=tuple(
            SecretStr(key)
            for key in (environment.SUPABASE_ANON_KEY, environment.SUPABASE_SERVICE_ROLE_KEY)
            if key
        ),
        config_file=path,
    )


def default_state_dir(environment: Environment | None = None) -> Path:
    """``$QUANTDESK_STATE_DIR``, else ``$XDG_STATE_HOME/quantdesk-oracle``, else below ~/.local/state."""
    environment = environment or Environment()
    if environment.QUANTDESK_STATE_DIR:
        return Path(environment.QUANTDESK_STATE_DIR)
    home = Path(environment.XDG_STATE_HOME) if environment.XDG_STATE_HOME else Path.home() / ".local/state"
    return home / "quantdesk-oracle"


def _node(file: ConfigFile) -> NodeSettings:
    return NodeSettings(
        network=file.solana.network,
        endpoints=_endpoints(file.solana),
        commitment=file.solana.commitment,
        poll_interval=float(file.solana.poll_interval),
        request_timeout=float(file.solana.request_timeout),
        silence_limit=float(file.solana.silence_limit),
        subscriptions=file.solana.subscriptions,
        sweep_interval=float(file.solana.sweep_interval),
    )


def _endpoints(solana: SolanaSection) -> tuple[EndpointSettings, ...]:
    """The URLs of the environment, else the file's endpoints, else its URLs, else the network's public node."""
    if solana.endpoints and not solana.rpc_urls:
        return tuple(
            EndpointSettings(
                name=endpoint.name,
                rpc_url=SecretStr(endpoint.rpc_url),
                ws_url=SecretStr(endpoint.ws_url or websocket_url(endpoint.rpc_url)),
                weight=endpoint.weight,
                requests=endpoint.requests,
                method_requests=endpoint.method_requests,
            )
            for endpoint in solana.endpoints
        )
    rpc_urls = solana.rpc_urls or (PUBLIC_RPC[solana.network],)
    ws_urls = solana.ws_urls or tuple(websocket_url(url) for url in rpc_urls)
    endpoints: list[EndpointSettings] = []
    for rpc_url, ws_url in zip(rpc_urls, ws_urls, strict=True):
        name = endpoint_name(rpc_url)
        again = sum(endpoint.name.split("#")[0] == name for endpoint in endpoints)
        name = f"{name}#{again + 1}" if again else name
        endpoints.append(EndpointSettings(name, SecretStr(rpc_url), SecretStr(ws_url)))
    return tuple(endpoints)


def _hermes(section: HermesSection, environment: Environment) -> HermesSettings:
    return HermesSettings(
        second_source=section.second_source,
        urls=tuple(SecretStr(url) for url in section.urls),
        benchmarks_url=SecretStr(section.benchmarks_url),
        history=None if section.history == "none" else Source(section.history),
        key=SecretStr(environment.HERMES_API_KEY) if environment.HERMES_API_KEY else None,
        requests=section.requests,
        request_timeout=float(section.request_timeout),
        silence_limit=float(section.silence_limit),
    )


def _market(section: MarketSection, file: ConfigFile, named: tuple[str, str] | None) -> Market:
    band = section.band_bp if section.band_bp is not None else file.mark.band_bp
    return Market(
        symbol=section.symbol,
        base_asset=section.base_asset,
        quote_asset=section.quote_asset,
        feeds=_feeds(section, named),
        storage=_storage_limits(section, file),
        use=_use_limits(section, file),
        mark_band=band / 10_000,
        funding_interval=section.funding_interval or file.funding.interval,
        max_funding_rate=section.max_funding_rate_bp or file.funding.max_rate_bp,
        impact_notional=section.impact_notional or file.mark.impact_notional,
        method=section.method or file.mark.method,
        parameters=tuple(sorted(section.parameters.items())),
    )


def _feeds(section: MarketSection, named: tuple[str, str] | None) -> tuple[Feed, ...]:
    """A variable's account wins over the file's accounts, and these over addresses derived from the feed id."""
    feed_id = bytes.fromhex(section.feed_id) if section.feed_id else None
    if section.source == "hermes":
        assert section.feed_id is not None
        return (Feed(section.symbol, section.feed_id, None, feed_id, source=Source.HERMES),)
    if named:
        variable, account = named
        return (_named_feed(section.symbol, account, feed_id, variable),)
    if section.accounts:
        key = f"markets.{section.symbol}.accounts"
        return tuple(_named_feed(section.symbol, account, feed_id, key) for account in section.accounts)
    assert feed_id is not None
    return tuple(
        Feed(section.symbol, addresses.price_feed_address(feed_id, generation), generation, feed_id)
        for generation in section.newest_first
    )


def _named_feed(symbol: str, account: str, feed_id: bytes | None, configured_by: str) -> Feed:
    return Feed(symbol, account, _generation(account, feed_id), feed_id, configured_by)


def _generation(account: str, feed_id: bytes | None) -> Generation | None:
    """The generation of an account that somebody wrote down, where its address tells."""
    if account in addresses.LEGACY_ACCOUNTS:
        return Generation.LEGACY
    if feed_id is not None:
        for generation in addresses.PUSH_PROGRAMS:
            if account == addresses.price_feed_address(feed_id, generation):
                return generation
    return None


def _storage_limits(section: MarketSection, file: ConfigFile) -> StorageLimits:
    limits = file.acceptance.model_copy(update=section.acceptance.model_dump(exclude_none=True))
    return StorageLimits(
        future=_micros(limits.future),
        uncertain_ppm=int(limits.uncertain_bp * _PPM_PER_BP),
        implausible_factor=limits.implausible_factor,
        quarantine_ppm=int(limits.quarantine_bp * _PPM_PER_BP),
        wide_ppm=int(limits.wide_bp * _PPM_PER_BP),
        accept_partial=limits.accept_partial,
    )


def _use_limits(section: MarketSection, file: ConfigFile) -> UseLimits:
    limits = file.use.model_copy(update=section.use.model_dump(exclude_none=True))
    return UseLimits(
        fresh=_micros(limits.fresh),
        stale=_micros(limits.stale),
        proof_prints=limits.proof_prints,
        # Hermes' slots are Pythnet's: no node of Solana tells their age.
        slot_time=0 if section.source == "hermes" else UseLimits().slot_time,
    )


def _micros(seconds: Decimal) -> int:
    return int(seconds * SECOND)
