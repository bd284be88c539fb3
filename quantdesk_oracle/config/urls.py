"""URLs of nodes and databases: what is wrong with one, and which one follows from another. They may hold secrets."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from quantdesk_oracle.config.settings import EMBEDDED

_HIGHEST_PORT = 65_535


def url_problems(key: str, urls: tuple[str, ...], schemes: tuple[str, ...]) -> list[str]:
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


def database_problems(name: str, url: str) -> list[str]:
    """What keeps ``url`` from being one of a PostgreSQL database, without a word of what it holds."""
    if url in ("", EMBEDDED):
        return []
    if not url.startswith(("postgresql://", "postgres://")):
        return [f"{name} is neither `embedded` nor a URL that begins with postgresql://"]
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
        ports = [port for host in hosts if (port := host.rpartition("]")[2].partition(":")[2])]
        readable = all(port.isdecimal() and 0 < int(port[:6]) <= _HIGHEST_PORT for port in ports)
    except ValueError:
        readable = False
    if not readable:
        return [
            (
                f"{name} cannot be read as postgresql://user:password@host:port/name; in user and password, "
                "write special characters as percent codes: %40 for @, %2F for /, %5B for ["
            )
        ]
    return []


def websocket_url(rpc_url: str) -> str:
    """The websocket URL that belongs to an RPC URL: the same host, and the next port where one is named."""
    parts = urlsplit(rpc_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    netloc = parts.netloc
    if parts.port:
        netloc = netloc.removesuffix(f":{parts.port}") + f":{parts.port + 1}"
    return urlunsplit((scheme, netloc, parts.path, parts.query, ""))
