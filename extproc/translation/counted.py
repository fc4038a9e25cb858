"""The number of a request's tokens, asked of an upstream in its own API, told to the client in the client's."""

from __future__ import annotations

from typing import Final, cast

from ..dialects.base import AsksForCounts, Dialect, GivesCounts, Headers, Meta, ResponseHead
from ..llm.events import ResponseFailed
from ..llm.failures import ErrorKind
from ..settings import Limits
from .collected import Collected
from .response import Note

MAX_BYTES: Final = 64 * 1024
"""Of such an answer: it holds a number."""
NO_NUMBER: Final = ResponseFailed(
    ErrorKind.API, "the upstream's answer holds no number of tokens", 502, "upstream_error"
)


class Counted(Collected):
    """The answer of an upstream that counts. Nothing in it was used of a model's."""

    def __init__(
        self, client: Dialect, upstream: Dialect, meta: Meta, head: ResponseHead, limits: Limits, note: Note
    ) -> None:
        super().__init__(client, meta, head, limits, MAX_BYTES, [], note)
        self._upstream = upstream

    def made(self, body: bytes) -> bytes | ResponseFailed:
        tokens = cast(GivesCounts, self._upstream).read_count(body)
        return NO_NUMBER if tokens is None else cast(AsksForCounts, self.client).write_count(tokens)

    def too_large(self) -> ResponseFailed:
        return NO_NUMBER


class Instead(Collected):
    """*answer* in place of what an upstream says that has no such endpoint."""

    def __init__(
        self, client: Dialect, answer: bytes, head: ResponseHead, limits: Limits, report: Headers, note: Note
    ) -> None:
        super().__init__(client, Meta(), ResponseHead(head.status), limits, MAX_BYTES, report, note)
        self._answer = answer

    def made(self, body: bytes) -> bytes | ResponseFailed:
        return self._answer

    def too_large(self) -> ResponseFailed:
        return NO_NUMBER
