"""Which daemon this is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from quantdesk_oracle.ops.instance import Instance


def test_two_runs_on_one_host_have_two_ids(clock: Any) -> None:
    one, two = Instance.begin(clock), Instance.begin(clock)
    assert one.host == two.host
    assert one.id != two.id
    assert re.fullmatch(r"[A-Za-z0-9.-]+-[0-9a-f]{8}", one.id)


@pytest.mark.parametrize(("name", "host"), [("db 1\n", "db-1-"), ("", "unknown"), ("x" * 300, "x" * 63)])
def test_a_strange_host_name_is_made_harmless(
    clock: Any, monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    assert Instance.begin(clock).host == host


def test_uptime_counts_from_the_start_and_is_never_negative(clock: Any) -> None:
    instance = Instance.begin(clock)
    clock.forward(90.5)
    assert instance.uptime(clock.now()) == 90.5
    assert instance.uptime(instance.started - 1) == 0.0
