"""File and environment to one frozen Settings, with every problem listed at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr, ValidationError

from quantdesk_oracle.config.environment import NETWORK_VARIABLES, Environment
from quantdesk_oracle.config.file import ConfigFile, MarketSection
from quantdesk_oracle.config.settings import (
    EMBEDDED,
    DatabaseSettings,
    Feed,
    Market,
    NodeSettings,
    Settings,
)
from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND, Generation
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
    if env_file is not None and not env_file.is_file():
        raise ConfigError([f"{env_file}: no such file; check --env-file"])
    environment = Environment(_env_file=env_file)
    if own_network:
        environment = environment.model_copy(update=dict.fromkeys(NETWORK_VARIABLES, ""))
    problems: list[str] = []
    named = config_file or (Path(environment.QUANTDESK_CONFIG) if environment.QUANTDESK_CONFIG else None)
    content = _read(named, problems) if named else {}
    _overlay(content, environment, problems)
    file = _validate(content, named, problems)
    url = environment.DATABASE_URL if database is None else database
    problems.extend(_database_problems(url))
    accounts = _accounts(file, environment, problems)
    if problems:
        raise ConfigError(problems)
    return _settings(file, environment, accounts, url, state_dir, named)


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream, parse_float=Decimal)
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); check --config or QUANTDESK_CONFIG")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    if text.isdecimal():
        return int(text)
    problems.append(f"{name} is {text!r}, expected a whole number")
    return None


_VARIABLE_OF_KEY = {
    "solana.network": "SOLANA_NETWORK",
    "http.host": "QUANTDESK_HTTP_HOST",
    "http.port": "QUANTDESK_HTTP_PORT",
    "log.level": "QUANTDESK_LOG_LEVEL",
    "log.format": "QUANTDESK_LOG_FORMAT",
}


def _validate(content: Mapping[str, Any], path: Path | None, problems: list[str]) -> ConfigFile:
    try:
        file = ConfigFile.model_validate(content)
    except ValidationError as error:
        problems.extend(_sentence(detail, path) for detail in error.errors())
        return ConfigFile()
    for key, urls in (("rpc_urls", file.solana.rpc_urls), ("ws_urls", file.solana.ws_urls)):
        schemes = ("http", "https") if key == "rpc_urls" else ("ws", "wss")
        problems.extend(_url_problems(f"solana.{key}", urls, schemes))
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
    return f"{where}{key}{variable} is {str(detail['input'])[:80]!r}: {message}"


def _url_problems(key: str, urls: tuple[str, ...], schemes: tuple[str, ...]) -> list[str]:
    """Urls that cannot be used; they may hold keys, so a problem names their position and no more."""
    problems = []
    for position, url in enumerate(urls):
        try:
            parts = urlsplit(url)
            usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            problems.append(f"{key}[{position}] is no URL that begins with {' or '.join(schemes)}://")
    return problems


def _database_problems(url: str) -> list[str]:
    if not url:
        return [NO_DATABASE]
    if url != EMBEDDED and not url.startswith(("postgresql://", "postgres://")):
        return ["DATABASE_URL is neither `embedded` nor a URL that begins with postgresql://"]
    return []


def _accounts(file: ConfigFile, environment: Environment, problems: list[str]) -> dict[str, tuple[str, str]]:
    """Market symbol → (variable, account), for the markets whose account a variable names."""
    accounts = {}
    for market in file.markets:
        variable, account = environment.oracle_account(market.base_asset)
        if not account:
            continue
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
        settle_delay=_micros(file.funding.settle_delay),
        late_after=_micros(file.funding.late_after),
        clock_tolerance=_micros(file.clock.tolerance),
        supabase_url=environment.SUPABASE_URL,
        embedded_dsn=False,
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
    rpc_urls = file.solana.rpc_urls or (PUBLIC_RPC[file.solana.network],)
    ws_urls = file.solana.ws_urls or tuple(websocket_url(url) for url in rpc_urls)
    return NodeSettings(
        network=file.solana.network,
        rpc_urls=tuple(SecretStr(url) for url in rpc_urls),
        ws_urls=tuple(SecretStr(url) for url in ws_urls),
        commitment=file.solana.commitment,
        poll_interval=float(file.solana.poll_interval),
        request_timeout=float(file.solana.request_timeout),
        silence_limit=float(file.solana.silence_limit),
    )


def websocket_url(rpc_url: str) -> str:
    """The websocket URL that belongs to an RPC URL: the same host, and the next port where one is named."""
    parts = urlsplit(rpc_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    netloc = parts.netloc
    if parts.port:
        netloc = netloc.removesuffix(f":{parts.port}") + f":{parts.port + 1}"
    return urlunsplit((scheme, netloc, parts.path, parts.query, ""))


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
    )


def _feeds(section: MarketSection, named: tuple[str, str] | None) -> tuple[Feed, ...]:
    """A variable's account wins over the file's accounts, and these over addresses derived from the feed id."""
    feed_id = bytes.fromhex(section.feed_id) if section.feed_id else None
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
        fresh=_micros(limits.fresh), stale=_micros(limits.stale), proof_prints=limits.proof_prints
    )


def _micros(seconds: Decimal) -> int:
    return int(seconds * SECOND)
