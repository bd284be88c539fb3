"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file (TOML); default: QUANTDESK_CONFIG, else the defaults."),
]
EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help="File of environment variables; the environment itself wins over it."),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Directory of the embedded database, spool and ledger; "
        "default: QUANTDESK_STATE_DIR, else $XDG_STATE_HOME/quantdesk-oracle.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, for scripts.")]
