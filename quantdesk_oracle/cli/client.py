"""A running daemon, asked over its HTTP. Where it listens: --url, else the settings' host and port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from quantdesk_oracle.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    import httpx

Url = Annotated[
    str | None,
    typer.Option("--url", help="Where the daemon listens; default: http://HOST:PORT of the settings."),
]
TIMEOUT = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (read, not bound)


class Answer(NamedTuple):
    """What the daemon says: the HTTP status and the JSON value."""

    status: int
    body: Any


class DaemonClient:
    """Asks one daemon."""

    def __init__(self, base: str, client: httpx.Client) -> None:
        self.base = base
        self._client = client

    def get(self, path: str) -> Answer:
        """What it says at ``path``. Raises UnavailableError."""
        import httpx

        try:
            answer = self._client.get(self.base + path)
            return Answer(answer.status_code, answer.json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise UnavailableError(
                f"no daemon answers at {self.base}{path} ({type(error).__name__}): start it with "
                "`quantdesk-oracle run`, or say where it is with --url or QUANTDESK_HTTP_PORT"
            ) from error


@contextmanager
def daemon_client(url: str | None, config: Path | None, env_file: Path | None) -> Iterator[DaemonClient]:
    """A client of the daemon for the length of the block."""
    base = url.rstrip("/") if url else _url_of_settings(config, env_file)
    if not base.startswith(("http://", "https://")):
        raise ConfigError([f"--url is {base!r}: expected one that begins with http:// or https://"])
    import httpx

    with httpx.Client(timeout=TIMEOUT, trust_env=False) as client:
        yield DaemonClient(base, client)


def _url_of_settings(config: Path | None, env_file: Path | None) -> str:
    from quantdesk_oracle.config import EMBEDDED, load_settings

    # Which database the daemon writes to is no matter here.
    settings = load_settings(config_file=config, env_file=env_file, database=EMBEDDED)
    host = _EVERYWHERE.get(settings.http_host, settings.http_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
