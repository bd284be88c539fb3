"""Debian's nats-server with JetStream, on a free loopback port, and what its stream holds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nats

from tests.postgres import free_port

SERVER = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")


class Nats:
    """A nats-server with JetStream, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert SERVER is not None
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SERVER, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self._folder / "jetstream"],
                stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


async def stored_keys(broker: Nats, subject: str) -> list[str]:
    """The keys of all messages of a subject, in their order; JetStream has dropped what came twice."""
    connection = await nats.connect(broker.url)
    keys: list[str] = []
    try:
        subscription = await connection.jetstream().pull_subscribe(subject)
        while True:
            messages = await subscription.fetch(500, timeout=1)
            keys += [message.headers["Nats-Msg-Id"] for message in messages if message.headers]
    except TimeoutError:  # nats raises two of them
        return keys
    finally:
        await connection.close()
