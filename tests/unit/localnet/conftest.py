"""A node in virtual time, and a subscriber that remembers what it was told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.settings import LocalnetSettings
from tests.clock import VirtualClock


class Recorder:
    """A subscriber."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def deliver(self, message: bytes) -> None:
        self.messages.append(json.loads(message))

    def results(self, method: str = "accountNotification") -> list[Any]:
        return [one["params"]["result"] for one in self.messages if one.get("method") == method]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def new_recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def node(clock: VirtualClock) -> Node:
    return Node(LocalnetSettings(), clock)
