"""Names that a test gives and takes away: a program with this folder on its PYTHONPATH asks the file for them first.

Each line of the file ``QUANTDESK_TEST_NAMES`` is a name and its address, or the name alone: that one is not to be
resolved now, as when the name servers are away.
"""

import os
import socket
from pathlib import Path

_genuine = socket.getaddrinfo


def _getaddrinfo(host, *arguments, **options):  # type: ignore[no-untyped-def]
    lines = Path(os.environ["QUANTDESK_TEST_NAMES"]).read_text(encoding="utf-8").splitlines()
    known = dict(line.partition(" ")[::2] for line in lines)
    name = host.decode() if isinstance(host, bytes) else host
    if name in known and not known[name]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _genuine(known.get(name, host), *arguments, **options)


socket.getaddrinfo = _getaddrinfo
