"""How hypothesis works here: without a deadline per example, since machines are shared and imports are late."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
