"""sd_notify against a real unix datagram socket."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.ops.heartbeat import Heartbeat
from quantdesk_oracle.ops.systemd import MAX_STATUS, Notifier, Watchdog, watchdog_interval


class Systemd:
    """The other end of the socket."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    @property
    def notifier(self) -> Notifier:
        return Notifier({"NOTIFY_SOCKET": self.name})


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    if request.param == "path":
        other = Systemd(str(tmp_path / "notify"), str(tmp_path / "notify"))
    else:
        name = f"quantdesk-oracle-test-{secrets.token_hex(8)}"
        other = Systemd("\0" + name, "@" + name)
    yield other
    other.socket.close()


class StepClock:
    """Sleeps end at once, a few times; then the sleeper is cancelled."""

    def __init__(self, sleeps: int = 0) -> None:
        self.instant, self.left = 0, sleeps
        self.slept: list[float] = []

    def now(self) -> int:
        return self.instant

    def monotonic(self) -> float:
        return self.instant / SECOND

    async def sleep(self, seconds: float) -> None:
        if self.left == 0:
            raise asyncio.CancelledError
        self.left -= 1
        self.slept.append(seconds)
        self.instant += round(seconds * SECOND)

    async def sleep_until(self, instant: int) -> None:
        await self.sleep((instant - self.instant) / SECOND)


def test_systemd_is_told_of_each_state(systemd: Systemd) -> None:
    notifier = systemd.notifier
    assert notifier.ready("3 feeds fresh")
    assert notifier.reloading(12345)
    assert notifier.ready()
    assert notifier.status("waiting for the database")
    assert notifier.watchdog()
    assert notifier.stopping("draining")
    assert systemd.heard() == [
        "READY=1\nSTATUS=3 feeds fresh",
        "RELOADING=1\nMONOTONIC_USEC=12345",
        "READY=1",
        "STATUS=waiting for the database",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_a_status_line_cannot_smuggle_in_a_field(systemd: Systemd) -> None:
    assert systemd.notifier.status("all well\nMAINPID=1\r\n" + "x" * 1000)
    (message,) = systemd.heard()
    assert message.startswith("STATUS=all well MAINPID=1 xxx")
    assert "\n" not in message
    assert len(message) == len("STATUS=") + MAX_STATUS


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "@"}]
)
def test_without_a_socket_nothing_happens(environ: dict[str, str]) -> None:
    assert Notifier(environ).ready("up") is False


def test_a_socket_that_nobody_reads_any_more_stops_nobody(systemd: Systemd) -> None:
    systemd.socket.close()
    assert systemd.notifier.watchdog() is False


def test_a_full_socket_is_not_waited_for(systemd: Systemd) -> None:
    notifier = systemd.notifier
    told = 0
    while notifier.watchdog():
        told += 1
    assert len(systemd.heard()) == told > 0


def test_the_watchdog_is_fed_only_while_the_heartbeat_is_young(systemd: Systemd) -> None:
    clock = StepClock()
    heartbeat = Heartbeat(clock, monotonic=clock.monotonic)
    watchdog = Watchdog(systemd.notifier, heartbeat, clock, interval=30.0, limit=10.0)
    fed: dict[int, bool] = {}
    for age in (0, 9, 10, 60):
        clock.instant = age * SECOND
        fed[age] = watchdog.feed()
    heartbeat.beat()
    assert fed == {0: True, 9: True, 10: False, 60: False}
    assert watchdog.feed()
    assert systemd.heard() == ["WATCHDOG=1"] * 3


async def test_the_watchdog_is_fed_twice_an_interval(systemd: Systemd) -> None:
    clock = StepClock(sleeps=3)
    heartbeat = Heartbeat(clock, monotonic=lambda: 0.0)
    with pytest.raises(asyncio.CancelledError):
        await Watchdog(systemd.notifier, heartbeat, clock, interval=30.0, limit=10.0).run()
    assert clock.slept == [15.0] * 3
    assert systemd.heard() == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_interval_is_systemds_for_this_process_alone(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_interval(environ, pid=77) == seconds


def test_the_socket_is_not_inherited_by_children(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    real: Callable[..., socket.socket] = socket.socket

    def watched(*args: int) -> socket.socket:
        one = real(*args)
        made.append(one.get_inheritable())
        return one

    monkeypatch.setattr(socket, "socket", watched)
    assert systemd.notifier.watchdog()
    assert made == [False]
