"""``quantdesk-oracle init``: a commented configuration to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantdesk_oracle.errors import ConfigError

# Where each is written to, and the sample that it is a copy of.
_FILES = {"quantdesk.toml": "config/quantdesk.toml", "quantdesk.env": "env.example"}


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write quantdesk.toml (every setting, its default, unit and consequence) and quantdesk.env (every variable).

    Both hold the defaults: change what you need, and delete the rest or keep it.

    Exit codes: 0, 78 a file is there already or cannot be written.
    """
    targets = {folder / name: sample for name, sample in _FILES.items()}
    if not force and (there := [str(path) for path in targets if path.exists()]):
        raise ConfigError([f"{path} is there already: --force overwrites it" for path in there])
    for path, sample in targets.items():
        text = _sample(sample).read_text(encoding="utf-8")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            # It is going to hold passwords.
            path.chmod(0o600 if path.suffix == ".env" else 0o644)
        except OSError as error:
            raise ConfigError([f"{path} cannot be written ({error.strerror})"]) from error
        typer.echo(f"wrote {path}")
    toml, env = targets
    typer.echo(
        f"Set DATABASE_URL and RPC_URL in {env}, then: quantdesk-oracle doctor --config {toml} --env-file {env}"
    )


def _sample(name: str) -> Path:
    """A sample inside an installed package, or at the root of a checkout."""
    package = Path(__file__).resolve().parent.parent
    bundled = package / "bundled" / name
    return bundled if bundled.is_file() else package.parent / name
