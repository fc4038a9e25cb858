"""What becomes of a client's request: a call for the upstream, an answer of our own, or a refusal."""

from __future__ import annotations

from typing import Final

from ..dialects import registry
from ..dialects.base import Headers, Meta, ResponseHead
from ..framing.inflate import InflateError, InflatesTooFar, UnknownEncoding, inflated
from ..frozen import Frozen
from ..llm.events import ResponseFailed
from ..llm.failures import STATUS_OF, ErrorKind

TOO_HEAVY: Final = "the request holds more values than can be handled at once"
"""Said where ``Limits.max_decoded_bytes`` is met."""
ENCODING: Final = "content-encoding"
RETRY_SECONDS: Final = "1"
"""When to come again, where the gateway is at its bounds."""


class CallCredentials(Frozen):
    """What of a call says who we are, in the clear. Whoever prints a call does not see it."""

    headers: Headers = []
    """Names in lower case: keys, tokens, signatures."""
    query: str = ""
    """Parameters of the query, as they are sent."""

    def __repr__(self) -> str:
        return "CallCredentials(...)"


class Call(Frozen):
    """What goes upstream. ``path`` is with its query and ``headers`` are all there are (names in lower case; no pseudo
    headers, no content-length), both without ``credentials``: to send it, take ``all_headers`` and ``full_path``.
    ``host`` is set when the route names the upstream's own."""

    method: str
    path: str
    headers: Headers
    body: bytes
    host: str | None = None
    credentials: CallCredentials = CallCredentials()

    def all_headers(self) -> Headers:
        """The headers and the credential's. Holds secrets."""
        return self.headers + self.credentials.headers

    def full_path(self) -> str:
        """The path with the credential's parameters. Holds secrets."""
        secret = self.credentials.query
        if not secret:
            return self.path
        return f"{self.path}{'&' if '?' in self.path else '?'}{secret}"


class Answer(Frozen):
    """What the client is answered without an upstream, in its own API's shape: no error. ``why`` is one word for the
    record: ``estimated``, ``denied``."""

    status: int
    headers: Headers
    body: bytes
    why: str


class Refused(Exception):
    """The client's fault, or a request that this route may not answer.

    ``status``, ``headers`` and ``body`` are an error response in the client's own API shape.
    """

    def __init__(self, failed: ResponseFailed, head: ResponseHead, body: bytes) -> None:
        super().__init__(failed.message)
        self.failed = failed
        self.status = head.status
        self.headers = head.headers
        self.body = body


def refused(
    client: str | None, kind: ErrorKind, message: str, code: str | None = None, param: str | None = None
) -> Refused:
    """An error of our own about the client's request, in the shape of *client* (OpenAI's when it is not known)."""
    failed = ResponseFailed(kind, message, STATUS_OF[kind], code, param or None, ours=True)
    return Refused(failed, *render_error(client, failed))


def plain_body(body: bytes, headers: Headers, max_bytes: int) -> bytes:
    """A request's *body* as its ``content-encoding`` lets it be read. Raises InflateError."""
    encodings = [value for name, value in headers if name == ENCODING]
    return inflated(body, ",".join(encodings), max_bytes) if encodings else body


def without_encoding(headers: Headers) -> Headers:
    return [pair for pair in headers if pair[0] != ENCODING]


def not_inflated(error: InflateError) -> ResponseFailed:
    """A request that cannot be read for *error*, which is the client's."""
    if isinstance(error, InflatesTooFar):
        return ResponseFailed(ErrorKind.TOO_LARGE, str(error), STATUS_OF[ErrorKind.TOO_LARGE], ours=True)
    if isinstance(error, UnknownEncoding):
        message = f"{error}: send gzip, deflate, zstd or plain bytes"
        return ResponseFailed(ErrorKind.INVALID_REQUEST, message, 415, "unsupported_value", ENCODING, ours=True)
    return ResponseFailed(ErrorKind.INVALID_REQUEST, str(error), 400, "invalid_value", ENCODING, ours=True)


def render_error(client: str | None, failed: ResponseFailed) -> tuple[ResponseHead, bytes]:
    """*failed* as a response in the shape of dialect *client* (OpenAI's when it is not known)."""
    busy = failed.ours and failed.kind is ErrorKind.OVERLOADED
    meta = Meta(retry_after=RETRY_SECONDS) if busy else Meta()
    return registry.get(client or registry.FALLBACK).emit_error(failed, meta)
