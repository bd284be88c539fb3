"""config/quantdesk.toml and env.example are the manual: complete, and equal to what the program does without them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from quantdesk_oracle.config.environment import Environment
from quantdesk_oracle.config.file import ConfigFile, EndpointSection, MarketSection

_VARIABLE = re.compile(r"^([A-Z][A-Z0-9_]+)=", re.MULTILINE)


@pytest.fixture
def sample(root: Path) -> str:
    """The text of config/quantdesk.toml."""
    return (root / "config/quantdesk.toml").read_text()


def test_the_sample_is_the_defaults(sample: str) -> None:
    assert ConfigFile.model_validate(tomllib.loads(sample, parse_float=Decimal)) == ConfigFile()


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """Every key of the model and of the sections within it."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation)
        elif name != "markets":
            yield name


@pytest.mark.parametrize("key", sorted({*keys_of(ConfigFile), *keys_of(MarketSection)}))
def test_every_key_stands_in_the_sample(sample: str, key: str) -> None:
    assert re.search(rf"^(# )?{key} = ", sample, re.MULTILINE), f"config/quantdesk.toml does not show {key}"


def test_keys_that_the_sample_comments_out_are_real_ones(sample: str) -> None:
    known = {*keys_of(ConfigFile), *keys_of(MarketSection), *keys_of(EndpointSection)}
    assert set(re.findall(r"^# (\w+) = ", sample, re.MULTILINE)) <= known


def test_env_example_names_every_variable_that_is_read(root: Path) -> None:
    assert set(_VARIABLE.findall((root / "env.example").read_text())) == set(Environment.model_fields)


def test_env_example_explains_every_variable(root: Path) -> None:
    blocks = (root / "env.example").read_text().split("\n\n")
    for block in blocks:
        if _VARIABLE.search(block):
            assert block.lstrip().startswith("#"), block
