"""The systemd units, by systemd's own tools. That the daemon notifies and feeds: tests/integration/ops."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from quantdesk_oracle.errors import EX_CONFIG

PROGRAM = "/opt/quantdesk-oracle/bin/quantdesk-oracle"
UNITS = ("quantdesk-oracle.service", "quantdesk-oracle-backfill@.service")
HIGHEST_EXPOSURE = 1.5


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    return program


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Path:
    """A unit, with a program that is there on every machine."""
    text = (root / "config/systemd" / request.param).read_text()
    assert PROGRAM in text
    name = request.param.replace("@", "@6h")
    (tmp_path / name).write_text(text.replace(PROGRAM, "/bin/true"))
    return tmp_path / name


def test_systemd_finds_nothing_wrong(analyze: str, unit: Path) -> None:
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_hardly_anything_is_exposed(analyze: str, unit: Path) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= HIGHEST_EXPOSURE


def test_a_configuration_error_is_not_tried_again(root: Path) -> None:
    text = (root / "config/systemd/quantdesk-oracle.service").read_text()
    assert f"RestartPreventExitStatus={EX_CONFIG}\n" in text
    assert "Type=notify\n" in text
    assert "WatchdogSec=" in text


@pytest.mark.parametrize("unit_name", UNITS)
def test_secrets_come_as_a_credential(root: Path, unit_name: str) -> None:
    text = (root / "config/systemd" / unit_name).read_text()
    assert "LoadCredential=environment:" in text
    assert "--env-file %d/environment" in text
    assert "EnvironmentFile" not in text
