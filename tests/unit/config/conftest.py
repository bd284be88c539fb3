"""Settings as a command would load them, from texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.config import Settings, load_settings
from quantdesk_oracle.errors import ConfigError

Load = Callable[..., Settings]
Problems = Callable[..., str]
DSN = "postgresql://quantdesk_oracle:pw-of-dsn@db.example:5432/quantdesk"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """load(toml, VARIABLE=…, env_file=…): DATABASE_URL is set unless it is given."""

    def load(toml: str | None = None, env_file: str | None = None, **variables: str) -> Settings:
        for name, value in {"DATABASE_URL": DSN, **variables}.items():
            monkeypatch.setenv(name, value)
        paths: dict[str, Any] = {"config_file": None, "env_file": None}
        for key, text in (("config_file", toml), ("env_file", env_file)):
            if text is not None:
                paths[key] = tmp_path / key
                paths[key].write_text(text)
        return load_settings(**paths)

    return load


@pytest.fixture
def problems(load: Load) -> Problems:
    """As ``load``, for settings that cannot be used: every problem, a line each."""

    def problems(toml: str | None = None, env_file: str | None = None, **variables: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(toml, env_file, **variables)
        assert caught.value.exit_code == 78
        assert caught.value.problems == tuple(str(caught.value).split("\n"))
        return str(caught.value)

    return problems
