"""The documentation: links lead somewhere, references are what the code says, every code has its line."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import quantdesk_oracle
from quantdesk_oracle.errors import OracleError
from quantdesk_oracle.ops.metrics import RPC_ERROR_KINDS
from quantdesk_oracle.ops.readiness import CODES, DATABASE_KINDS, HERMES_KINDS, NODE_KINDS
from quantdesk_oracle.store.faults import Kind

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE_LINE = re.compile(r"^\| `([\w.]+)` \|", re.MULTILINE)
FINDING = re.compile(r'\b(?:warn|fail)\(\s*"([a-z]+\.[a-z_]+)"')


def pages(root: Path) -> list[Path]:
    return [root / "README.md", root / "CHANGELOG.md", *(root / "docs").rglob("*.md")]


def anchors(page: Path) -> set[str]:
    """Of the headings, as Markdown makes them."""
    text = page.read_text()
    return {
        re.sub(r"[^\w\- ]", "", found.lower()).strip().replace(" ", "-") for found in HEADING.findall(text)
    }


def test_every_link_leads_somewhere(root: Path) -> None:
    for page in pages(root):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for link in LINK.findall(text):
            if "://" in link:
                continue
            target, _, anchor = link.partition("#")
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), f"{page.relative_to(root)} links to {link}"
            if anchor and file.suffix == ".md":
                assert anchor in anchors(file), f"{page.relative_to(root)} links to {link}"


def test_the_site_builds_without_a_warning_and_has_every_page(root: Path, tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in (root / "docs").rglob("*.md"):
        name = page.relative_to(root / "docs").with_suffix("")
        folder = name.parent if name.name in ("index", "README") else name
        assert (tmp_path / "site" / folder / "index.html").is_file(), page
    assert "At 3 a.m." in (tmp_path / "site/index.html").read_text()


@pytest.mark.parametrize("script", ["reference", "dashboard"])
def test_what_is_generated_is_what_the_code_says(root: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, root / "scripts" / script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_picture_is_small_and_shown_by_a_page(root: Path) -> None:
    shown = {
        (page.parent / link).resolve() for page in pages(root) for link in LINK.findall(page.read_text())
    }
    pictures = [file for file in (root / "docs/images").rglob("*") if file.is_file()]
    assert len(pictures) > 20
    for picture in pictures:
        assert picture in shown, f"no page shows {picture.name}"
        assert picture.stat().st_size < 200_000, picture.name


def errors(root_class: type[OracleError]) -> Iterator[type[OracleError]]:
    """Every error of the tree that the package itself defines."""
    for child in root_class.__subclasses__():
        if child.__module__.startswith("quantdesk_oracle."):
            yield child
        yield from errors(child)


def test_every_error_of_the_tree_has_a_code_and_a_line(root: Path) -> None:
    for module in pkgutil.walk_packages(quantdesk_oracle.__path__, "quantdesk_oracle."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    described = set(CODE_LINE.findall((root / "docs/errors.md").read_text()))
    # Names with an underscore are caught where they are raised: nobody sees them.
    missing = {error.code for error in errors(OracleError) if not error.__name__.startswith("_")} - described
    assert missing == set(), f"docs/errors.md has no line for {missing}"


def test_every_finding_of_the_doctor_that_is_not_ok_has_a_line(root: Path) -> None:
    described = set(CODE_LINE.findall((root / "docs/errors.md").read_text()))
    found = set()
    for file in (root / "quantdesk_oracle/doctor").glob("*.py"):
        text = file.read_text()
        found |= set(FINDING.findall(text))
        found |= {
            code for code in re.findall(r'"([a-z]+\.[a-z_]+)"', text) if code.split(".")[0] in ("feed",)
        }
        found |= set(re.findall(r'return "(database\.\w+)"', text))
        found |= set(re.findall(r'(?:AskError\(|kind = )"(\w+\.\w+)"', text))
    assert len(found) > 30
    assert found - {"feed.fresh", "feed.unknown"} <= described, found - described


def test_the_codes_of_readiness_know_every_kind_of_trouble() -> None:
    assert set(DATABASE_KINDS) == {kind.value for kind in Kind}
    assert {*NODE_KINDS, *HERMES_KINDS} <= set(RPC_ERROR_KINDS)


def test_every_reason_for_not_being_ready_has_a_line(root: Path) -> None:
    described = set(CODE_LINE.findall((root / "docs/errors.md").read_text()))
    text = (root / "quantdesk_oracle/workers/status.py").read_text()
    raised = set(re.findall(r'NotReady\(\s*"(\w+)"', text))
    assert len(raised) >= 6
    assert raised <= set(CODES)
    assert set(CODES) <= described, set(CODES) - described
