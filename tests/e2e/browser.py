"""Debian's Chromium, driven over WebDriver with nothing but HTTP."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres import free_port

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PATIENCE = 20.0


class Browser:
    """One window."""

    def __init__(self, session: str, client: httpx.Client) -> None:
        self._session = session
        self._client = client

    def open(self, url: str) -> None:
        """Load a page, to its load event."""
        self._post("/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function comes to."""
        return self._post("/execute/sync", script=script, args=arguments)

    def until(self, script: str) -> Any:
        """Wait until the script comes to something true."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := self.run(script):
                return found
            time.sleep(0.1)
        raise AssertionError(
            f"never true within {PATIENCE:g} s: {script}\n{self.run('return document.body.innerText')}"
        )

    def run_async(self, script: str) -> Any:
        """What the script hands to its last argument."""
        return self._post("/execute/async", script=script, args=[])

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._post("/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def resize(self, width: int, height: int, *, scale: float = 1) -> None:
        """Set what a page sees of the window, in CSS pixels, and how many pixels of a picture one of those is."""
        screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": True}
        self._chrome("Emulation.setDeviceMetricsOverride", **screen)

    def colour_scheme(self, scheme: str) -> None:
        """Prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._chrome("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """The whole page as a PNG, or what the window shows of it."""
        answer = self._chrome("Page.captureScreenshot", captureBeyondViewport=whole, format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def console(self) -> list[str]:
        """What the console has said since the last call, warnings and worse."""
        said = self._post("/se/log", type="browser")
        return [line["message"] for line in said if line["level"] in ("WARNING", "SEVERE")]

    def _chrome(self, command: str, **parameters: Any) -> Any:
        return self._post("/goog/cdp/execute", cmd=command, params=parameters)

    def _post(self, path: str, **body: Any) -> Any:
        answer = self._client.post(f"/session/{self._session}{path}", json=body).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{path}: {answer['error']}: {answer['message']}")
        return answer


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile below ``folder``; skips where there is none."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or program is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    port = free_port()
    with (folder / "chromedriver.log").open("w") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            session = _session(client, program, folder)
            try:
                yield Browser(session, client)
            finally:
                client.delete(f"/session/{session}")
    finally:
        process.terminate()
        process.wait(10)


def _session(client: httpx.Client, program: str, folder: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.get("/status")
            break
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    options = {"binary": program, "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"]}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    answer = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
    session: str = answer["sessionId"]
    return session
