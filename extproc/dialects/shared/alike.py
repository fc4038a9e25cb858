"""Messages of a stream that differ from one before in nothing but a text: most of a long answer's do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..base import encode

MAX_TRIES: Final = 3
"""How often a message is made the pattern of those to come. A server that pads its messages makes no two alike."""
_OTHER: Final = "another text"
_ANOTHER: Final = encode(_OTHER)
_string: Final = msgspec.json.Decoder(str).decode


class Alike:
    """What stands before and behind the text in a message: where the next one has the same around a string, that is its
    text, and the rest need not be decoded. That it is the text that stands there is found by putting another in its
    place. One for each stream."""

    __slots__ = ("_before", "_behind", "_tries")

    def __init__(self) -> None:
        self._before = b""
        self._behind = b""
        self._tries = MAX_TRIES

    def text(self, data: bytes) -> str | None:
        """The text of the message *data*; ``None`` if all of it has to be read."""
        before, behind = self._before, self._behind
        start, end = len(before), len(data) - len(behind)
        if not start or end <= start or data[:start] != before or data[end:] != behind:
            return None
        try:
            return _string(data[start:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def learn(self, data: bytes, text: str, read: Callable[[bytes], str | None]) -> None:
        """The message *data* holds *text*, as *read* reads it."""
        if not self._tries or text == _OTHER:
            return
        self._tries -= 1
        before, found, behind = data.partition(encode(text))
        if found and read(before + _ANOTHER + behind) == _OTHER:
            self._before, self._behind = before, behind
