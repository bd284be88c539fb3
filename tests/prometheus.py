"""Debian's Prometheus with the project's own rules, on a free loopback port."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres import free_port

PATIENCE = 60.0
"""Seconds after which what a test waits for will not come any more."""


class Prometheus:
    """A running one, asked over its API."""

    def __init__(self, url: str, targets: Path) -> None:
        self._client = httpx.Client(base_url=url, timeout=10, trust_env=False)
        self._targets = targets

    def close(self) -> None:
        self._client.close()

    def watch(self, *ports: int) -> None:
        """Scrape the daemons on these ports of loopback, and no other one."""
        told = json.dumps([{"targets": [f"127.0.0.1:{port}" for port in ports]}])
        beside = self._targets.with_suffix(".new")
        beside.write_text(told)
        beside.rename(self._targets)

    def get(self, path: str, **parameters: str) -> Any:
        return self._client.get(f"/api/v1/{path}", params=parameters).json()["data"]

    def query(self, expression: str) -> list[Any]:
        return list(self.get("query", query=expression)["result"])

    def until(self, expression: str) -> list[Any]:
        """Wait until the expression comes to something."""
        return self._until(lambda: self.query(expression), expression)

    def until_alert(self, name: str, port: int, *words: str) -> dict[str, Any]:
        """Wait until the alert fires for that daemon with all ``words`` in its description; its annotations."""

        def firing() -> list[dict[str, Any]]:
            return [
                alert["annotations"]
                for alert in self.get("alerts")["alerts"]
                if alert["state"] == "firing"
                and alert["labels"]["alertname"] == name
                and alert["labels"].get("instance") == f"127.0.0.1:{port}"
                and all(word in alert["annotations"]["description"] for word in words)
            ]

        return self._until(firing, f"{name} that says {words}")[0]

    def _until(self, found: Callable[[], list[Any]], what: str) -> list[Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if result := found():
                    return result
            except (httpx.TransportError, ValueError):
                pass  # it is only just starting
            time.sleep(0.2)
        raise AssertionError(f"nothing came of {what}")


@contextlib.contextmanager
def running_prometheus(root: Path, folder: Path, *, hasty: bool = False) -> Iterator[Prometheus]:
    """With the project's configuration, but a scrape a second; ``hasty``: alerts fire without their patience."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    targets, port = folder / "targets.json", free_port()
    targets.write_text("[]")
    (folder / "prometheus.yml").write_text(
        (root / "config/prometheus/prometheus.yml")
        .read_text()
        .replace("15s", "1s")
        .replace("static_configs:", "file_sd_configs:")
        .replace('targets: ["127.0.0.1:9464"]', f'files: ["{targets}"]')
    )
    rules = (root / "config/prometheus/alerts.yml").read_text()
    (folder / "alerts.yml").write_text(re.sub(r"(?m)^( +for:) \w+$", r"\1 0s", rules) if hasty else rules)
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    server = Prometheus(f"http://127.0.0.1:{port}", targets)
    try:
        yield server
    finally:
        server.close()
        process.terminate()
        process.wait(15)
