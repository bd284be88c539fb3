"""Every error this project raises on purpose: one class per cause that an operator can tell apart.

    OracleError                      exit code
    ├── ConfigError                  78   a setting is missing or wrong; all of them are listed at once
    ├── SchemaError                  78   the database's schema is missing or old
    ├── DataError                    65   bytes or a file are not what they say
    │   └── DecodeError                   an account or a message does not decode
    ├── UnavailableError             69   a service does not answer
    │   ├── DatabaseError                 PostgreSQL
    │   └── NodeError                     a Solana node
    │       ├── RateLimitedError               it asks for patience (HTTP 429, or 429 inside an answer)
    │       ├── NodeBehindError                it lags (-32005, -32016)
    │       └── NodeProtocolError              it answers what nobody can read
    │           └── NodeRefusesError                   it has no such method, now or later
    │               └── TransactionVersionError                it has a transaction that is too new for us (-32015)
    └── WorkerError                  1    a worker of the daemon died unexpectedly

A message says what was wrong, with which value, and what to do next. It never holds a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantdesk_oracle.model import Reason

EX_FAILURE = 1
EX_USAGE = 2
EX_DATA = 65
EX_UNAVAILABLE = 69
EX_CONFIG = 78


class OracleError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what a command ends with.

    ``code`` is the class's name in small letters, such as `rate_limited`: what docs/errors.md is looked up by.
    """

    exit_code = EX_FAILURE
    code = "oracle"

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<=.)([A-Z])", r"_\1", cls.__name__.strip("_").removesuffix("Error")).lower()


class ConfigError(OracleError):
    """Settings that cannot be used. ``problems`` has one sentence per setting."""

    exit_code = EX_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class SchemaError(OracleError):
    """The database's schema is missing, older than this version needs, or may not be made by this role."""

    exit_code = EX_CONFIG


class DataError(OracleError):
    """A file or bytes that are not what they say they are."""

    exit_code = EX_DATA


class DecodeError(DataError):
    """Bytes that do not decode: the offset in bytes, the value found there, and the reason's code."""

    def __init__(self, reason: Reason, offset: int, value: object, expected: str) -> None:
        self.reason = reason
        self.offset = offset
        self.value = value
        super().__init__(f"offset {offset}: found {value}, expected {expected}")


class UnavailableError(OracleError):
    """A service outside this process does not answer, or refuses."""

    exit_code = EX_UNAVAILABLE


class DatabaseError(UnavailableError):
    """PostgreSQL cannot be reached, or refuses."""


class NodeError(UnavailableError):
    """A Solana node cannot be reached, or refuses. ``kind`` is a stable word for metrics."""

    kind = "unreachable"


class RateLimitedError(NodeError):
    """The node asks for patience; ``retry_after`` is in seconds, None where it does not say."""

    kind = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class NodeBehindError(NodeError):
    """The node lags behind the cluster, or behind the slot that was asked for."""

    kind = "behind"


class NodeProtocolError(NodeError):
    """The node answers something that is not the answer to what was asked."""

    kind = "protocol"


class NodeRefusesError(NodeProtocolError):
    """The node does not offer what was asked; asking again will not help."""


class TransactionVersionError(NodeRefusesError):
    """A transaction of a version that nobody here can read: of this one alone the node says nothing."""


class WorkerError(OracleError):
    """A worker of the daemon ended when nobody had asked it to."""
