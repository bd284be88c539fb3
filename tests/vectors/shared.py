"""The shared data folder beside the checkout, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"


def needs(folder: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where ``folder`` of the shared data is absent."""
    path = SHARED / folder
    return pytest.mark.skipif(
        not path.is_dir(), reason=f"the shared folder {folder} is not beside the checkout"
    )
