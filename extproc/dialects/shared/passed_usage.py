"""What an answer says of itself, read in passing: the usage stands near its end, and no more of it is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from ...llm.events import NO_USAGE, ResponseEnded, ResponseEvent, ResponseStarted, StopReason, Usage
from ...llm.failures import ErrorKind
from ...llm.losses import LossReport
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from .counts import exact
from .openai import ERROR_KINDS
from .parser import ParserBase

TAIL: Final = 16 * 1024
"""Bytes of an answer's end in which its usage is looked for."""
_USAGE: Final = b'"usage"'
_BACKSLASH: Final = ord("\\")
_INPUT = ("input_tokens", "prompt_tokens", "total_tokens")
_OUTPUT = ("output_tokens", "completion_tokens")
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_PIECE: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}]', re.DOTALL)
"""What tells where an object ends: its texts, and the brackets outside of them."""


class EndpointParser(ParserBase):
    """Errors, and of an answer its usage."""

    stream_types: ClassVar[tuple[str, ...]] = ()
    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._fails = head.status >= 400
        self._tail = b""

    def feed(self, data: bytes) -> list[ResponseEvent]:
        if self._fails:
            return super().feed(data)
        self._tail = data[-TAIL:] if len(data) >= TAIL else (self._tail + data)[-TAIL:]
        return []

    def end(self) -> list[ResponseEvent]:
        if self._fails:
            return super().end()
        usage = read_usage(self._tail)
        return [ResponseStarted("", self.call.request.model, usage), ResponseEnded(StopReason.END, usage)]

    def on_whole(self, body: Any) -> Iterator[ResponseEvent]:
        yield self.failure_of(body, self.head.status)


def read_usage(tail: bytes) -> Usage:
    """The last usage that the end of an answer tells, of one JSON or of a stream of events. In a text the name would
    stand between escaped quotation marks."""
    at = tail.rfind(_USAGE)
    while at >= 0:
        rest = tail[at + len(_USAGE) :].lstrip()
        if not (at and tail[at - 1] == _BACKSLASH) and rest.startswith(b":"):
            usage = _usage(rest[1:].lstrip())
            if usage is not NO_USAGE:
                return usage
        at = tail.rfind(_USAGE, 0, at)
    return NO_USAGE


def _usage(text: bytes) -> Usage:
    """What the object says with which *text* begins."""
    try:
        members = _decode(text[: _end(text)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_USAGE
    found = [
        next((number for name in names if (number := exact(members.get(name))) is not None), None)
        for names in (_INPUT, _OUTPUT)
    ]
    return NO_USAGE if found == [None, None] else Usage(found[0], found[1])


def _end(text: bytes) -> int:
    depth = 0
    for piece in _PIECE.finditer(text):
        bracket = piece.group()
        depth += (bracket == b"{") - (bracket == b"}")
        if depth == 0:
            return piece.end()
    return 0
