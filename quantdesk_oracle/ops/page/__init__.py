"""The status page: plain files, no build step, no asset from outside, and a content policy that allows no other.

Everything that it shows comes from /status and /charts and is put in as text: what came from a chain or a database
never becomes markup.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from quantdesk_oracle.ops.wsgi import Response, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SCRIPT = "text/javascript; charset=utf-8"
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", _SCRIPT),
    "/market.js": ("market.js", _SCRIPT),
    "/charts.js": ("charts.js", _SCRIPT),
    "/text.js": ("text.js", _SCRIPT),
}


def page_routes() -> Mapping[str, Route]:
    """The page's paths, for ops.health.HealthServer. The files are read now, not with each request."""
    folder = Path(__file__).parent
    return {
        path: partial(_answer, (folder / name).read_bytes(), content_type)
        for path, (name, content_type) in _FILES.items()
    }


def _answer(body: bytes, content_type: str) -> Response:
    return Response(HTTPStatus.OK, content_type, body, {"Content-Security-Policy": POLICY})
