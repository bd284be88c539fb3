"""What a log line must not hold: the secrets of this process, and whatever looks like one.

Three nets, one behind the other: the very values that were handed in, in each way they can be spelled; the
places where secrets live (user:password@ of a URL, query parameters, ``password=`` of a DSN, bearer and JSON
web tokens); and fields whose name says it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Set
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Sequence

MASK = "***"
MAX_TEXT = 32_768
"""Characters of one text that are kept."""
MAX_ITEMS = 100
"""Items of one collection that are kept."""
MAX_DEPTH = 6

SECRET_FIELDS = frozenset(
    {"password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "authorization", "private_key"}
)

_PATTERNS = (
    # user:password@ of a URL. A password may hold '/' or '?' where somebody forgot to quote it, so the last @
    # of the word ends it; never across the next '://', which keeps the search linear.
    (re.compile(r"(://)(?:(?!://)[^\s'\"<>])*@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), MASK),
    (
        re.compile(
            r"(?i)([?&;][\w.-]{0,40}(?:key|token|secret|password|passwd|pwd|auth|signature|jwt)=)"
            r"[^&#;\s'\"<>]+"
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"(?i)((?:password|passwd|pwd|secret|api[-_]?key|authorization)['\"]?\s{0,3}[=:]\s{0,3})"
            r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,;&)}\]]+)"
        ),
        rf"\1{MASK}",
    ),
)


def _spellings(secret: str) -> set[str]:
    """The secret as it is, in a URL, in a repr, in JSON."""
    escaped = {repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), *escaped}


def _pattern_of(secrets: Sequence[str]) -> re.Pattern[str] | None:
    spellings = {s for secret in secrets if secret.strip() for s in _spellings(secret)}
    if not spellings:
        return None
    # Longest first: a secret that begins with another one must go whole.
    ordered = sorted(spellings, key=lambda s: (-len(s), s))
    # A short one would tear holes into ordinary words: it must stand alone.
    return re.compile(
        "|".join(re.escape(s) if len(s) >= 6 else rf"(?<!\w){re.escape(s)}(?!\w)" for s in ordered)
    )


def _as_text(value: object) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return repr(value) if isinstance(value, bytes) else str(value)


class Redactor:
    """Takes secrets out of texts and of whole values. Holds the secrets, so it has no repr of its own."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._known = _pattern_of(secrets)

    def text(self, text: str) -> str:
        """``text`` without a secret, cut at ``MAX_TEXT`` characters, always encodable as UTF-8."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        if len(text) > MAX_TEXT:
            text = f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"
        return text.encode("utf-8", "backslashreplace").decode()

    def value(self, value: object, depth: int = 0) -> object:
        """A copy of ``value`` that JSON can hold, without a secret at any depth, key or item."""
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if not isinstance(value, Mapping | list | tuple | Set):
            return self._scalar(value)
        if depth >= MAX_DEPTH:
            return "…"
        return self._mapping(value, depth) if isinstance(value, Mapping) else self._items(list(value), depth)

    def _scalar(self, value: object) -> object:
        if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
            return value
        text = self.text(_as_text(value))
        return value if isinstance(value, int) and text == str(value) else text

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> dict[str, object]:
        kept: dict[str, object] = {}
        for count, (key, item) in enumerate(mapping.items()):
            if count == MAX_ITEMS:
                kept["…"] = f"{len(mapping) - MAX_ITEMS} more"
                break
            name = self.text(_as_text(key))
            secret = name.lower().replace("-", "_") in SECRET_FIELDS and item is not None
            kept[name] = MASK if secret else self.value(item, depth + 1)
        return kept

    def _items(self, items: list[object], depth: int) -> list[object]:
        kept = [self.value(item, depth + 1) for item in items[:MAX_ITEMS]]
        if len(items) > MAX_ITEMS:
            kept.append(f"… {len(items) - MAX_ITEMS} more")
        return kept
