"""This machine: its Python, the state directory, its disk, the port, and the settings by themselves."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from quantdesk_oracle import __version__
from quantdesk_oracle.config.accounts import account_problems
from quantdesk_oracle.doctor.findings import Finding, fail, ok, warn
from quantdesk_oracle.ops.disk import LITTLE, MIB, TOO_LITTLE, free_bytes

if TYPE_CHECKING:
    from quantdesk_oracle.config import Settings

FreeBytes = Callable[[Path], int]


def version() -> Finding:
    """What is running."""
    return ok(
        "host.version", "program", f"quantdesk-oracle {__version__} on Python {platform.python_version()}."
    )


def accounts(settings: Settings) -> Iterator[Finding]:
    """What the addresses of the configured accounts give away without asking a node."""
    for problem in account_problems(settings):
        figures = {"replacement": problem.replacement}
        if problem.replacement is not None and problem.key.isupper():
            figures["line"] = f"{problem.key}={problem.replacement}"
        yield fail("account.legacy", problem.market, problem.problem, problem.cure, **figures)


def state_directory(folder: Path, free: FreeBytes = free_bytes) -> Finding:
    """Whether the state directory can be written to, and has room."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return fail(
            "host.state_dir",
            "state directory",
            f"{folder} cannot be written to by this user.",
            "Choose another with --state-dir or QUANTDESK_STATE_DIR, or change its owner.",
        )
    left = free(existing)
    room = f"{folder} has {left / MIB:,.0f} MiB left"
    if left < TOO_LITTLE:
        return fail(
            "host.disk_full",
            "state directory",
            f"{room}: rows that wait for the database would be lost.",
            "Make room on that file system, or choose another with QUANTDESK_STATE_DIR.",
            free_bytes=left,
        )
    if left < LITTLE:
        return warn(
            "host.disk_full",
            "state directory",
            f"{room}, which an outage of the database fills soon.",
            "Make room on that file system.",
            free_bytes=left,
        )
    return ok("host.disk", "state directory", f"{room}.", free_bytes=left)


def port(settings: Settings) -> Finding:
    """Whether the HTTP port is free, or is a daemon's already."""
    where = f"{settings.http_host}:{settings.http_port}"
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http_host, settings.http_port))
        except OSError as error:
            return _taken(settings, where, error)
    return ok("host.port", "port", f"{where} is free.")


def _taken(settings: Settings, where: str, error: OSError) -> Finding:
    try:
        answer = httpx.get(f"http://{where}/livez", timeout=2, trust_env=False).json()
        if "age_seconds" in answer:
            return ok("host.port", "port", f"{where} is a running daemon's.")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        pass  # whoever it is, it is no daemon of ours
    return fail(
        "host.port_taken",
        "port",
        f"{where} cannot be listened on ({error.strerror}), and no daemon of ours answers there.",
        "Stop what listens there, or set another port with QUANTDESK_HTTP_PORT.",
        port=settings.http_port,
    )
