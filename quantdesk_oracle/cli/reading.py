"""A database to read from, for the length of a command, and values as text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from quantdesk_oracle.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from quantdesk_oracle.store.database import Database


@asynccontextmanager
async def reading(
    config: Path | None, env_file: Path | None, state_dir: Path | None
) -> AsyncIterator[Database]:
    """The database of the settings; the embedded one where it runs. Raises ConfigError, UnavailableError."""
    from quantdesk_oracle.config import load_settings
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.embedded import EmbeddedServer

    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    dsn: str | None = settings.database.url.get_secret_value()
    if settings.embedded:
        dsn = EmbeddedServer(settings.state_dir).dsn()
    if dsn is None:
        raise UnavailableError(
            f"the embedded database of {settings.state_dir} does not run: quantdesk-oracle run, or db url, starts it"
        )
    database = Database(dsn, pool_size=1, command_timeout=settings.database.command_timeout)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def as_json_value(value: object) -> Any:
    """Instants as ISO 8601 in UTC, decimals as exact strings; for json.dumps(default=…)."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


def exact(value: Decimal) -> str:
    """A decimal without the zeros that its column adds."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def printable(text: object) -> str:
    """Text from a database or a chain, which must not steer a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(text))
