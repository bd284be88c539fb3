"""What a person sees who types the first command, on a terminal of eighty columns; what it says to type next works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from quantdesk_oracle.errors import EX_CONFIG
from quantdesk_oracle.store.embedded import EmbeddedServer

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def on_a_terminal(*command: str | Path, cwd: Path) -> tuple[int, str]:
    """Exit code, and all that the terminal has shown."""
    ours, theirs = os.openpty()
    shown = b""
    variables = {**os.environ, "COLUMNS": "80", "LINES": "24", "QUANTDESK_HTTP_PORT": "0", "TERM": "xterm"}
    with subprocess.Popen(
        [str(word) for word in command], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=variables
    ) as process:
        os.close(theirs)
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:  # how a terminal ends whose last writer has gone
            pass
    os.close(ours)
    return process.returncode, ESCAPES.sub("", shown.decode())


PROGRAM = (sys.executable, "-m", "quantdesk_oracle")


def test_a_folder_that_the_embedded_database_cannot_live_in_is_told(tmp_path: Path) -> None:
    code, shown = on_a_terminal(*PROGRAM, "run", "--demo", "--state-dir", tmp_path / "a state", cwd=tmp_path)
    assert code == EX_CONFIG
    assert "choose another folder with --state-dir" in shown


def test_the_first_command_shows_where_to_look_and_what_to_type_next(state_dir: Path, tmp_path: Path) -> None:
    code, shown = on_a_terminal(
        *PROGRAM, "run", "--demo", "--for", "6s", "--state-dir", state_dir, cwd=tmp_path
    )
    assert code == 0, shown
    assert "SIMULATED market" in shown
    assert re.search(r"^status page: http://127\.0\.0\.1:\d+    Ctrl-C ends it$", shown, re.MULTILINE)
    assert re.search(r"^written: .* funding_rates$", shown, re.MULTILINE)
    after = shown.rpartition("Inserted ")[2]
    look = re.search(r"^Look at the rows:  (.+)$", after, re.MULTILINE)
    stop = re.search(r"^Stop the database, which runs on:  (.+)$", after, re.MULTILINE)
    assert look
    assert stop
    query = [*shlex.split(look[1]), "-c", "SELECT count(*) FROM mark_prices"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +[1-9]\d*$", done.stdout, re.MULTILINE)
    done = subprocess.run(shlex.split(stop[1]), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert EmbeddedServer(state_dir).dsn() is None
