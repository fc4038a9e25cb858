"""Messages of a stream that differ from one before in nothing but a text: most of a long answer's do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..base import encode

MAX_TRIES: Final = 3
"""How often a message is made the pattern of those to come. A server that pads its messages makes no two alike."""
PADDING: Final = b'"obfuscation":"'
"""OpenAI's last member of a message: letters and digits at random, so that lengths tell nothing."""
_PADDED: Final = b'"}'
_OTHER: Final = "another text"
_ANOTHER: Final = encode(_OTHER)
_string: Final = msgspec.json.Decoder(str).decode


class Alike:
    """What stands before and behind the text in a message: where the next one has the same around a string, that is its
    text, and the rest need not be decoded. That it is the text that stands there is found by putting another in its
    place. One for each stream."""

    __slots__ = ("_before", "_behind", "_padded", "_tries")

    def __init__(self) -> None:
        self._before = b""
        self._behind = b""
        self._padded = False
        self._tries = MAX_TRIES

    def text(self, data: bytes) -> str | None:
        """The text of the message *data*; ``None`` if all of it has to be read."""
        start = len(self._before)
        if not start or data[:start] != self._before or (end := self._end(data)) <= start:
            return None
        try:
            return _string(data[start:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _end(self, data: bytes) -> int:
        """Where the text of *data* ends; -1 if something else follows."""
        behind = self._behind
        end = data.rfind(behind) if self._padded else len(data) - len(behind)
        rest = data[end:] if end >= 0 else b""
        alike = _is_padding(rest[len(behind) :]) if self._padded else rest == behind
        return end if alike else -1

    def learn(self, data: bytes, text: str, read: Callable[[bytes], str | None]) -> None:
        """The message *data* holds *text*, as *read* reads it."""
        if not self._tries or text == _OTHER:
            return
        self._tries -= 1
        before, found, behind = data.partition(encode(text))
        if found and read(before + _ANOTHER + behind) == _OTHER:
            self._before, self._behind = before, behind
            start, padding, rest = behind.partition(PADDING)
            self._padded = bool(padding) and _is_padding(rest)
            if self._padded:
                self._behind = start + padding


def _is_padding(rest: bytes) -> bool:
    return rest.endswith(_PADDED) and (len(rest) == len(_PADDED) or rest[: -len(_PADDED)].isalnum())
