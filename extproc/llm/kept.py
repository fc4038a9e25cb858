"""How much a stream makes its translation keep, and where that ends: the one bound of a stream's memory.

What passes on as it comes is kept nowhere. Calls, thinking, citations, what waits, and for some clients the text, are
there until the end, and a server that never ends would have them grow for ever.
"""

from __future__ import annotations

from typing import Final

from .events import (
    BlockEnded,
    KeepAlive,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingStarted,
    ToolInputDelta,
)
from .failures import ErrorKind

CODE: Final = "answer_too_large"
"""The error's code."""
EVENT_BYTES: Final = 128
"""What an event costs beside its text."""
VALUE_BYTES: Final = 100
"""What each member of an object costs, and each element of an array, beside its text."""

_PLAIN: Final[dict[type, int]] = {
    **dict.fromkeys((KeepAlive, ResponseEnded, ResponseFailed), 0),
    **dict.fromkeys((TextStarted, ThinkingStarted, BlockEnded), EVENT_BYTES),
}
"""Events that hold no objects."""


class Kept:
    """Of one stream. ``texts``: what writes the answer keeps its texts as well."""

    __slots__ = ("_bytes", "_most", "full", "texts")

    def __init__(self, most: int) -> None:
        self._bytes = 0
        self._most = most
        self.texts = False
        self.full = False

    def add(self, text: int) -> None:
        """A piece of so many characters that is kept, though nothing is told of it yet, or only text."""
        self._bytes += EVENT_BYTES + text
        self.full = self._bytes > self._most

    def add_events(self, events: list[ResponseEvent], piece: bytes) -> None:
        """What came of a *piece* of the stream. Where nothing did, it may be waiting somewhere."""
        objects = not events
        for event in events:
            kind = type(event)
            if kind is TextDelta or kind is ThinkingDelta:
                self._bytes += EVENT_BYTES + len(event.text)  # type: ignore[union-attr]
            elif kind is ToolInputDelta:
                self._bytes += EVENT_BYTES + len(event.fragment)  # type: ignore[union-attr]
            else:
                weight = _PLAIN.get(kind)
                objects = objects or weight is None
                self._bytes += EVENT_BYTES if weight is None else weight
        if objects:
            self._bytes += len(piece) + VALUE_BYTES * (piece.count(b",") + piece.count(b"["))
        self.full = self._bytes > self._most

    def failure(self) -> ResponseFailed:
        """Why the response ends where this is ``full``."""
        message = f"the upstream's stream holds more than {self._most} bytes that have to be kept until its end"
        return ResponseFailed(ErrorKind.API, message, 502, CODE)
