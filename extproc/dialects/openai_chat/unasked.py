"""The counts of a stream whose client did not ask for them: asked for upstream, and taken out again on the way back.

A stream that ends without its counts is a stream that no record, metric and limit on tokens ever sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..base import value_of

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_decode = msgspec.json.Decoder().decode


def asking_for_usage(members: Mapping[str, Any]) -> dict[str, Any] | None:
    """The members of a request, and that its stream shall tell the counts; ``None`` if it is no stream, or says
    anything about that itself. The argument is not changed."""
    if value_of(members, "stream") is not True:
        return None
    options = value_of(members, "stream_options")
    if options is None:
        options = {}
    if type(options) is not dict or "include_usage" in options:
        return None
    return {**members, "stream_options": {**options, "include_usage": True}}


class WithoutUsage:
    """Takes the chunk out that holds nothing but the counts; every other byte passes. An event waits for its end,
    within the bound of one event."""

    def __init__(self, max_event_bytes: int) -> None:
        self._begun = b""
        self._max = max_event_bytes

    def feed(self, chunk: bytes) -> bytes:
        if not self._begun and chunk.endswith(b"\n\n") and _NO_CHOICES.search(chunk) is None:
            return chunk
        data = self._begun + chunk
        # A mark of the end can be cut in two as well.
        ends = [found.end() for found in _END_OF_EVENT.finditer(data, max(0, len(self._begun) - 3))]
        complete, self._begun = (data[: ends[-1]], data[ends[-1] :]) if ends else (b"", data)
        if len(self._begun) > self._max:
            complete, self._begun = complete + self._begun, b""
        return complete if _NO_CHOICES.search(complete) is None else _without_extra(complete)

    def end(self) -> bytes:
        """What is left: an event that the end of the stream left unfinished."""
        left, self._begun = self._begun, b""
        return b"" if _is_extra(left) else left


def _without_extra(data: bytes) -> bytes:
    kept, start = [], 0
    for found in _END_OF_EVENT.finditer(data):
        event = data[start : found.end()]
        start = found.end()
        if not _is_extra(event):
            kept.append(event)
    return b"".join(kept) + data[start:]


def _is_extra(event: bytes) -> bool:
    if _NO_CHOICES.search(event) is None:
        return False
    lines = re.split(rb"\r\n|\n|\r", event)
    data = [line[5:] for line in lines if line.startswith(b"data:")]
    try:
        chunk = _decode(b"\n".join(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return type(chunk) is dict and chunk.get("choices") == [] and type(chunk.get("usage")) is dict
