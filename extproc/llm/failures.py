"""Errors in words that no dialect owns, and whose fault each is."""

from __future__ import annotations

from enum import Enum
from typing import Final


class ErrorKind(Enum):
    """What went wrong. Each dialect has its own name for each kind; both SDKs choose their exception by the status."""

    INVALID_REQUEST = "invalid_request"
    AUTHENTICATION = "authentication"
    BILLING = "billing"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    RATE_LIMIT = "rate_limit"
    API = "api"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"


STATUS_OF: Final = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.AUTHENTICATION: 401,
    ErrorKind.BILLING: 402,
    ErrorKind.PERMISSION: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.RATE_LIMIT: 429,
    ErrorKind.API: 500,
    ErrorKind.TIMEOUT: 504,
    ErrorKind.OVERLOADED: 503,
}
KIND_OF: Final = {status: kind for kind, status in STATUS_OF.items()} | {
    408: ErrorKind.TIMEOUT,
    529: ErrorKind.OVERLOADED,
}


def kind_of_status(status: int) -> ErrorKind:
    """The kind that an HTTP status stands for, or that a vendor's number in a stream stands for."""
    return KIND_OF.get(status, ErrorKind.INVALID_REQUEST if 400 <= status < 500 else ErrorKind.API)


class ProtocolError(Exception):
    """The peer sent something that its own protocol does not allow. ``path`` says where.

    In a request it is the client's fault and becomes a 400; in a response it is the upstream's and becomes a 502.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class Unsupported(Exception):
    """A correct request that this upstream cannot answer correctly: refused before the upstream is contacted.

    ``path`` is the client's own; ``code`` is ``unsupported_value``, ``unsupported_parameter`` or ``invalid_value``.
    """

    def __init__(self, path: str, message: str, code: str = "unsupported_value") -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.code = code
