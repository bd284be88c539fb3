"""Debian's PgBouncer before a server of a test, on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time

import pytest

from tests.postgres import PostgresServer, folder_for_servers, free_port, unprivileged

BOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")


class PgBouncer:
    """PgBouncer in transaction mode before one server, with no more than two connections to it."""

    def __init__(self, server: PostgresServer) -> None:
        self.port = free_port()
        self.folder = folder_for_servers("qdo-bouncer-")
        (self.folder / "users").write_text('"postgres" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = trust\n"
            f"auth_file = {self.folder}/users\npool_mode = transaction\ndefault_pool_size = 2\n"
            f"unix_socket_dir =\nlogfile = {self.folder}/log\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BOUNCER is not None
        self._process = subprocess.Popen(
            [BOUNCER, "-q", self.folder / "pgbouncer.ini"], user=unprivileged(), cwd=self.folder
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("PgBouncer does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
