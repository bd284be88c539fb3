"""Schedules: what they say, and what is said about those that are none."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.localnet.faults import Kind, load_schedule, parse_schedule
from quantdesk_oracle.localnet.faults.kinds import SPECS

TOML = """
seed = 7

[[faults]]
kind = "delay"
at = 30
for = 10
every = 60
probability = 0.5
methods = ["accountNotification"]
feeds = ["SOL/USD"]
by = 3
"""


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "faults.toml", tmp_path / "faults.json"
    toml.write_text(TOML)
    fault = {
        "kind": "delay", "at": 30, "for": 10, "every": 60, "probability": 0.5,
        "methods": ["accountNotification"], "feeds": ["SOL/USD"], "by": 3,
    }  # fmt: skip
    as_json.write_text(json.dumps({"seed": 7, "faults": [fault]}))
    assert load_schedule(toml) == load_schedule(as_json)
    (found,) = load_schedule(toml).faults
    assert (found.kind, found.at, found.lasts, found.every) == (Kind.DELAY, 30, 10, 60)
    assert found.settings == {"by": 3, "jitter": 0.0}


def test_nothing_said_is_from_the_start_to_the_end_for_everybody() -> None:
    (fault,) = parse_schedule({"faults": [{"kind": "drop"}]}).faults
    assert (fault.at, fault.slot, fault.lasts, fault.every, fault.probability) == (0, None, None, None, 1)
    assert fault.methods == {"accountNotification"}
    assert fault.feeds == ()


def test_a_star_means_every_message() -> None:
    (fault,) = parse_schedule({"faults": [{"kind": "drop", "methods": ["*"]}]}).faults
    assert fault.methods == frozenset()


def test_every_kind_stands_by_itself() -> None:
    faults = parse_schedule({"faults": [{"kind": kind} for kind in Kind]}).faults
    assert [fault.kind for fault in faults] == list(Kind) == list(SPECS)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({}, "kind is None, expected one of drop, delay"),
        ({"kind": "dorp"}, "kind is 'dorp'"),
        ("drop", "expected a table"),
        ({"kind": "drop", "probabilty": 1}, "'probabilty' means nothing to drop"),
        ({"kind": "drop", "by": 1}, "'by' means nothing to drop"),
        ({"kind": "drop", "probability": 1.5}, "probability is 1.5, expected a number from 0 to 1"),
        ({"kind": "drop", "at": -1}, "at is -1"),
        ({"kind": "drop", "at": "30s"}, "at is '30s'"),
        ({"kind": "drop", "at": True}, "at is True"),
        ({"kind": "drop", "at": float("nan")}, "at is nan"),
        ({"kind": "drop", "slot": 1.5}, "expected a whole number"),
        ({"kind": "drop", "at": 1, "slot": 1}, "say one"),
        ({"kind": "drop", "every": 5}, "`every` needs `for`"),
        ({"kind": "drop", "every": 5, "for": 5}, "would begin before it ends"),
        ({"kind": "drop", "methods": ["getBalance"]}, "methods has getBalance"),
        ({"kind": "drop", "methods": "getSlot"}, "expected a list of texts"),
        ({"kind": "half_open", "methods": ["getSlot"]}, "cannot be aimed at methods"),
        ({"kind": "prune", "feeds": ["SOL/USD"]}, "cannot be aimed at feeds"),
        ({"kind": "close", "for": 5}, "happens in a moment"),
        ({"kind": "rate_limit", "shape": "polite"}, "shape is 'polite', expected one of status, answer"),
        ({"kind": "error", "data": 1}, "data is 1, expected true or false"),
    ],
)
def test_what_is_wrong_is_said_with_its_value(fault: object, said: str) -> None:
    with pytest.raises(DataError, match=f"fault 1: .*{said}".replace("[", r"\[")):
        parse_schedule({"faults": [fault]})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(DataError) as raised:
        parse_schedule({"sed": 1, "seed": "x", "faults": [{"kind": "drop", "at": -1}, {"kind": "none"}]})
    for part in ("'sed'", "seed is 'x'", "fault 1", "fault 2"):
        assert part in str(raised.value)


@pytest.mark.parametrize("text", ["faults = [", "faults = 3", "[[fault]]\nkind = 'drop'"])
def test_a_file_that_is_no_schedule_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.toml"):
        load_schedule(path)
    with pytest.raises(DataError, match=r"missing\.toml"):
        load_schedule(tmp_path / "missing.toml")


async def test_a_feed_that_the_node_does_not_serve_is_said_before_it_starts(start) -> None:
    with pytest.raises(DataError, match="DOGE/USD"):
        await start({"kind": "drop", "feeds": ["DOGE/USD"]})


def test_every_command_of_the_manual_is_a_fault_and_no_kind_is_without_one(root: Path) -> None:
    manual = (root / "docs" / "localnet.md").read_text()
    commands = re.findall(r"\| `drill '(.*?)'` \|", manual)
    faults = parse_schedule({"faults": [json.loads(command) for command in commands]}).faults
    assert {fault.kind for fault in faults} == set(Kind)
    for block in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL):
        assert parse_schedule(tomllib.loads(block)).faults
