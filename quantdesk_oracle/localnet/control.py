"""Faults by hand, while the node runs: an endpoint beside JSON-RPC, for clients on the same machine alone.

GET    /control            what acts, what has happened, how many requests were counted
POST   /control/faults     a fault, or {"faults": [...]}, as in a schedule; its times count from now
DELETE /control/faults     end all of them
DELETE /control/faults/3   end that one
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.localnet.faults.schedule import parse_schedule
from quantdesk_oracle.localnet.passage import HttpAnswer

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.faults.armed import Armed
    from quantdesk_oracle.localnet.faults.drill import Drill

PATH: Final = "/control"
_FAULTS: Final = f"{PATH}/faults"
_NEWEST: Final = 20


def from_this_machine(remote: str | None, origin: str | None) -> bool:
    """Whether a request may control the node: it comes from the loopback, and from no page in a browser."""
    return remote is not None and origin is None and ipaddress.ip_address(remote).is_loopback


class Control:
    """Answers what is asked of ``drill``."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill

    def answer(self, method: str, path: str, body: bytes) -> HttpAnswer:
        """The answer to one request."""
        try:
            match method, path.rstrip("/"):
                case "GET", "/control":
                    return _answer(200, self.status())
                case "POST", "/control/faults":
                    return _answer(201, {"numbers": self._add(body)})
                case "DELETE", "/control/faults":
                    self._drill.end()
                    return _answer(200, {"ended": "all"})
                case "DELETE", one if one.startswith(f"{_FAULTS}/"):
                    return self._end(one.removeprefix(f"{_FAULTS}/"))
        except DataError as error:
            return _answer(400, {"error": str(error)})
        return _answer(404, {"error": f"{method} {path}: expected GET {PATH}, or POST or DELETE {_FAULTS}"})

    def status(self) -> dict[str, Any]:
        """What there is to know."""
        drill = self._drill
        return {
            "slot": drill.node.slot,
            "seconds": drill.seconds,
            "seed": drill.seed,
            "faults": [self._shown(armed) for armed in drill.armed],
            "calls": drill.calls.count()._asdict(),
            "newest": list(drill.journal.newest)[-_NEWEST:],
        }

    def _shown(self, armed: Armed) -> dict[str, Any]:
        state = "acting" if armed.acting else "over" if armed.over else "to come"
        return {"number": armed.number, "kind": armed.fault.kind, "state": state, "struck": armed.struck}

    def _add(self, body: bytes) -> list[int]:
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}") from None
        whole = parsed if isinstance(parsed, dict) and "faults" in parsed else {"faults": [parsed]}
        return self._drill.add(parse_schedule(whole).faults)

    def _end(self, number: str) -> HttpAnswer:
        if number.isdecimal() and self._drill.end(int(number)):
            return _answer(200, {"ended": int(number)})
        return _answer(404, {"error": f"there is no fault {number}; GET {PATH} lists them"})


def _answer(status: int, body: dict[str, Any]) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(body).encode() + b"\n", {"Content-Type": "application/json"})
