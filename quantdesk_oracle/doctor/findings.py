"""What a check comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Grade(StrEnum):
    """How a check ended, best first."""

    OK = "ok"
    SKIP = "skip"
    """Could not be looked at, for a reason that another finding gives."""
    WARN = "warn"
    """Works, but a person should know."""
    FAIL = "fail"
    """Prices, marks or funding will be missing until this is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. ``code`` is stable, `area.what`; docs/errors.md has a section for each that is not ok."""

    grade: Grade
    code: str
    subject: str
    """What was looked at: an endpoint's name, a feed, `database`."""
    finding: str
    """What was found, and what that means. One sentence."""
    cure: str = ""
    """What to do, one sentence; empty where all is well."""
    figures: Mapping[str, object] = field(default_factory=dict)
    """Numbers for scripts. ``line`` is a variable with its value, as the env file should have it."""


def ok(code: str, subject: str, finding: str, **figures: object) -> Finding:
    """All is well."""
    return Finding(Grade.OK, code, subject, finding, "", figures)


def warn(code: str, subject: str, finding: str, cure: str, **figures: object) -> Finding:
    """It works, but."""
    return Finding(Grade.WARN, code, subject, finding, cure, figures)


def fail(code: str, subject: str, finding: str, cure: str, **figures: object) -> Finding:
    """Something will be missing."""
    return Finding(Grade.FAIL, code, subject, finding, cure, figures)


def skip(code: str, subject: str, finding: str) -> Finding:
    """Not looked at."""
    return Finding(Grade.SKIP, code, subject, finding)
