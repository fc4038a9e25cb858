"""The counts of a stream whose client did not ask for them: asked for upstream, and taken out again on the way back.

A stream that ends without its counts is a stream that no record, metric and limit on tokens ever sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..base import value_of
from ..shared import event_bytes

_NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*(?:\[\s*\]|null)')


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
        self._events = event_bytes.WholeEvents(max_event_bytes)

    def feed(self, chunk: bytes) -> bytes:
        if not self._events.waits and chunk.endswith(b"\n\n") and not _may_hold_extra(chunk):
            return chunk
        complete = self._events.feed(chunk)
        return _without_extra(complete) if _may_hold_extra(complete) else complete

    def end(self) -> bytes:
        """What is left: an event that the end of the stream left unfinished."""
        left = self._events.end()
        return b"" if _is_extra(left) else left


def _may_hold_extra(data: bytes) -> bool:
    return _NO_CHOICES.search(data) is not None or data.count(b'"choices"') < data.count(b"data:")


def _without_extra(data: bytes) -> bytes:
    return b"".join([event + end for event, end in event_bytes.split(data) if not (end and _is_extra(event))])


def _is_extra(event: bytes) -> bool:
    if not _may_hold_extra(event):
        return False
    chunk = event_bytes.message(event)
    return chunk is not None and not (chunk.get("choices") or chunk.get("error")) and type(chunk.get("usage")) is dict
