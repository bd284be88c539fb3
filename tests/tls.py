"""Certificates of an authority of our own, and a PostgreSQL that offers TLS with them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, programs, unprivileged


def make_certificates(folder: Path) -> Path:
    """A certificate authority, and a certificate of `localhost` that it has signed, in ``folder``."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed on this machine")
    folder.mkdir(exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
            "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "server.key",
            "-out", "server.csr")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
            "2", "-extfile", "names", "-out", "server.crt")  # fmt: skip
    return folder


def server_with_tls(certificates: Path) -> PostgresServer:
    """A server, not started yet, that offers TLS."""
    folder = programs(15)
    if folder is None:
        pytest.skip("PostgreSQL 15, which is built with TLS, is not installed on this machine")
    server = PostgresServer(folder)
    for name in ("server.crt", "server.key"):
        shutil.copy(certificates / name, server.data / name)
        if user := unprivileged():
            shutil.chown(server.data / name, user)
    (server.data / "server.key").chmod(0o600)
    with (server.data / "postgresql.conf").open("a") as settings:
        settings.write("ssl = on\n")
    return server
