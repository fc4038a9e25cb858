"""Small whole answers that are made anew at their end: a number of tokens, vectors."""

from __future__ import annotations

from ..dialects.base import Dialect, Headers, Meta, ResponseHead
from ..framing.inflate import InflateError, Inflater
from ..headers import client_headers
from ..llm.events import ResponseFailed
from ..llm.failures import ErrorKind
from ..settings import Limits
from .response import Note, unreadable


class Collected:
    """The upstream's body, inflated, up to *most* bytes of it; a subclass says what the client gets for it."""

    whole = True

    def __init__(
        self, client: Dialect, meta: Meta, head: ResponseHead, limits: Limits, most: int, report: Headers, note: Note
    ) -> None:
        self.client = client
        self.note = note
        self._meta = meta
        self._came = head
        self._most = most
        self._head = ResponseHead(200, [("content-type", "application/json"), *report])
        self._inflater = Inflater.for_encoding(head.header("content-encoding"), limits.max_inflated_bytes)
        self._body = bytearray()

    def made(self, body: bytes) -> bytes | ResponseFailed:
        """The client's answer for the upstream's *body*, or what is wrong with that. Its end has not been noted."""
        raise NotImplementedError

    def too_large(self) -> ResponseFailed:
        message = f"the upstream's answer is larger than {self._most} bytes"
        return ResponseFailed(ErrorKind.API, message, 502, "upstream_error")

    def head(self) -> ResponseHead:
        return ResponseHead(self._head.status, client_headers(self._came.headers, self._head.headers))

    def feed(self, chunk: bytes, end_of_stream: bool) -> bytes:
        try:
            data = self._inflater.feed(chunk) if self._inflater else chunk
        except InflateError as error:
            return self.abort(unreadable(error), end_of_stream)
        if len(self._body) <= self._most:
            self._body += data
        if not end_of_stream:
            return b""
        found = self.made(bytes(self._body)) if len(self._body) <= self._most else self.too_large()
        return self.abort(found, end_of_stream) if isinstance(found, ResponseFailed) else found

    def abort(self, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        self.note(failed)
        self._head, body = self.client.emit_error(failed, self._meta)
        return body if end_of_stream else b""
