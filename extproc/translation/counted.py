"""The number of a request's tokens, asked of an upstream in its own API, told to the client in the client's."""

from __future__ import annotations

from typing import cast

from ..dialects.base import Dialect, Meta, ResponseHead, TranslatesCounts
from ..framing.inflate import InflateError, Inflater
from ..headers import client_headers
from ..llm.events import ResponseFailed
from ..llm.failures import ErrorKind
from ..settings import Limits
from .response import Note

MAX_BYTES = 64 * 1024
"""Of such an answer: it holds a number."""


class Counted:
    """The answer of an upstream that counts. Nothing in it was used of a model's."""

    whole = True

    def __init__(
        self, client: Dialect, upstream: Dialect, meta: Meta, head: ResponseHead, limits: Limits, note: Note
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._meta = meta
        self._came = head
        self._note = note
        self._head = ResponseHead(200, [("content-type", "application/json")])
        self._inflater = Inflater.for_encoding(head.header("content-encoding"), limits.max_inflated_bytes)
        self._body = bytearray()

    def head(self) -> ResponseHead:
        return ResponseHead(self._head.status, client_headers(self._came.headers, self._head.headers))

    def feed(self, chunk: bytes, end_of_stream: bool) -> bytes:
        try:
            data = self._inflater.feed(chunk) if self._inflater else chunk
        except InflateError as error:
            return self.abort(ResponseFailed(ErrorKind.API, str(error), 502, "upstream_error"), end_of_stream)
        if len(self._body) <= MAX_BYTES:
            self._body += data
        if not end_of_stream:
            return b""
        tokens = None
        if len(self._body) <= MAX_BYTES:
            tokens = cast(TranslatesCounts, self._upstream).read_count(bytes(self._body))
        if tokens is None:
            message = "the upstream's answer holds no number of tokens"
            return self.abort(ResponseFailed(ErrorKind.API, message, 502, "upstream_error"), end_of_stream)
        return cast(TranslatesCounts, self._client).write_count(tokens)

    def abort(self, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        self._note(failed)
        self._head, body = self._client.emit_error(failed, self._meta)
        return body if end_of_stream else b""
