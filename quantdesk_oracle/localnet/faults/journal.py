"""What a drill did, and when: beside the ledger, and never in it.

The ledger is what the confirmed chain holds. A print that a fork showed at `processed` is not among it; it stands
here, as a line of the same form with ``"event": "print.forked"``.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.localnet.ledger import to_json

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from quantdesk_oracle.localnet.ledger import LedgerEntry

_NEWEST: Final = 1_000


def journal_path(ledger: Path) -> Path:
    """Where the journal of the node that writes ``ledger`` lies: ``ledger.jsonl`` has ``ledger.faults.jsonl``."""
    return ledger.with_name(f"{ledger.stem}.faults.jsonl")


class Journal:
    """Lines of JSON, each with an ``instant`` (µs) and an ``event``; the newest in memory, all in the file."""

    def __init__(self, path: Path | None = None) -> None:
        self._file: TextIO | None = None if path is None else path.open("a", encoding="utf-8")
        self.newest: deque[dict[str, Any]] = deque(maxlen=_NEWEST)
        self.forked: deque[LedgerEntry] = deque(maxlen=_NEWEST)
        """The newest prints that the chain did not keep."""

    def note(self, instant: int, event: str, **fields: Any) -> None:
        """Write one line."""
        line = {"instant": instant, "event": event, **fields}
        self.newest.append(line)
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def note_forked(self, instant: int, entry: LedgerEntry) -> None:
        """A fork shows ``entry``."""
        self.forked.append(entry)
        self.note(instant, "print.forked", **to_json(entry))

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()
            self._file = None
