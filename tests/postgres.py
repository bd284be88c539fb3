"""Real PostgreSQL servers that tests start on free loopback ports, and fresh databases with the schema in them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import asyncpg

from quantdesk_oracle.store import schema
from quantdesk_oracle.store.embedded import EmbeddedServer

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
FURTHER = os.environ.get("QUANTDESK_TEST_POSTGRES", "")
"""Folders, separated by colons, with initdb and postgres of further versions that the tests are to run on."""
START_SECONDS = 30.0
TEMPLATE = "with_schema"
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "listen_addresses": "127.0.0.1,::1",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
}
"""A test's server outlives kill -9 of itself, not of the machine: it need not sync."""


def _further() -> dict[int, Path]:
    found = {}
    for folder in filter(None, FURTHER.split(":")):
        said = subprocess.run(
            [Path(folder) / "postgres", "--version"], check=True, capture_output=True, text=True
        )
        found[int(re.findall(r"\d+", said.stdout)[0])] = Path(folder)
    return found


_FURTHER_VERSIONS = _further()
VERSIONS = (18, 15, *_FURTHER_VERSIONS)
"""The major versions that tests run on."""


def programs(version: int) -> Path | None:
    """The folder of initdb and postgres of a major version; None where this machine has not got it."""
    if version in _FURTHER_VERSIONS:
        return _FURTHER_VERSIONS[version]
    if version == 15:
        return DEBIAN_15 if (DEBIAN_15 / "postgres").is_file() else None
    folder = EmbeddedServer(Path(tempfile.gettempdir())).program("postgres").parent
    return folder if (folder / "postgres").is_file() else None


def clients(version: int) -> Path:
    """The folder of psql and pg_dump for a server: its own where it has them, else the embedded ones."""
    for folder in (programs(version), programs(18)):
        if folder is not None and (folder / "psql").is_file():
            return folder
    raise AssertionError("the embedded PostgreSQL is not installed, and no other psql was found")


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged() -> str | None:
    """Whom servers run as where the tests run as root, which they refuse; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "pgserver", "nobody") if name in known)


def folder_for_servers(prefix: str) -> Path:
    """A fresh temporary folder that the servers' user may write."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if user := unprivileged():
        shutil.chown(folder, user)
        folder.chmod(0o755)
    return folder


class PostgresServer:
    """One server as a child process, so that it can be killed, frozen and started again."""

    def __init__(
        self,
        bin_folder: Path,
        superuser: str = "postgres",
        *,
        primary: str | None = None,
        **options: str,
    ) -> None:
        """A fresh one, or a standby of the running server that ``primary`` is the URL of."""
        self.port = free_port()
        self.superuser = superuser
        self.folder = folder_for_servers("qdo-pg-")
        self.programs = bin_folder
        self._options = {**OPTIONS, **options}
        self._process: subprocess.Popen[bytes] | None = None
        if primary is None:
            self._run(
                "initdb",
                "-D",
                str(self.data),
                "-U",
                superuser,
                "--auth=trust",
                "-E",
                "UTF8",
                "--no-sync",
                "-N",
            )
        else:
            self._run("pg_basebackup", "-D", str(self.data), "-d", primary, "-R", "--no-sync", "-c", "fast")

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def dsn(self, database: str = "postgres", user: str | None = None, *, port: int | None = None) -> str:
        """How to connect to it, through another ``port`` where something lies between."""
        return f"postgresql://{quote(user or self.superuser)}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {**self._options, "port": str(self.port)}
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *arguments],
                stdout=log, stderr=log, user=unprivileged(), cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.until_it_answers()

    def until_it_answers(self) -> None:
        """Wait until a connection is accepted, crash recovery included."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if asyncio.run(_answers(self.dsn())):
                return
            time.sleep(0.05)
        raise AssertionError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL to the server and all its backends: nothing is flushed, no socket is closed in peace."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        # Backends are of the same session: none may hold the shared memory when it starts again.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """SIGSTOP to all its processes: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End a freeze."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it, without waiting for its clients."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        """To the postmaster and each of its children, which have process groups of their own."""
        assert self._process is not None
        for pid in [self._process.pid, *_children(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            capture_output=True,
            user=unprivileged(),
            cwd=self.folder,
        )


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close()
    return True


async def make_template(server: PostgresServer) -> None:
    """A database with the schema in it, that others are copied from."""
    await execute(server.dsn(), f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(server.dsn(TEMPLATE))
    try:
        await schema.apply(connection)
    finally:
        await connection.close()


async def execute(dsn: str, *statements: str) -> None:
    """Run statements on a connection of their own."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
