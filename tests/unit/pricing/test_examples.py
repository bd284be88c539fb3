"""Examples in docstrings are true, and the pages of the documentation show the same ones."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

from quantdesk_oracle import pricing
from quantdesk_oracle.pricing.methods import METHODS


def modules() -> list[ModuleType]:
    names = [info.name for info in pkgutil.walk_packages(pricing.__path__, "quantdesk_oracle.pricing.")]
    return [importlib.import_module(name) for name in names]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__.rpartition("pricing.")[2])
def test_every_example_is_true(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0
    if module.__name__.rpartition(".")[2] in METHODS:
        assert result.attempted > 0, "a method's module has a worked example"


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_a_method_shows_its_modules_example(root: Path, name: str) -> None:
    page = (root / f"docs/pricing/{name}.md").read_text()
    module = importlib.import_module(f"quantdesk_oracle.pricing.methods.{name}")
    for example in doctest.DocTestParser().get_examples(module.__doc__ or ""):
        assert f"    >>> {example.source}" in page
        assert f"    {example.want}" in page
