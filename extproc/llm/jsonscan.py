"""Whether a JSON value that arrives in pieces is complete, without parsing it twice."""

from __future__ import annotations

import re
from typing import Final

_STRUCTURAL: Final = re.compile(r'["{}\[\]\\]')


class JsonScanner:
    """Counts brackets outside strings. ``complete`` turns true when the outermost object or array has closed.

    Only what tool inputs are, an object, can complete: a bare number or word never does, as more of it may follow.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "at", "complete")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.complete = False
        self.at = 0
        """Where in the piece that completed it the value ends."""

    def feed(self, text: str) -> bool:
        """Take the next piece; returns ``complete``."""
        position = 0
        while not self.complete:
            if self._escaped:
                if position >= len(text):
                    break
                self._escaped = False
                position += 1
                continue
            found = _STRUCTURAL.search(text, position)
            if found is None:
                break
            self.at = position = found.end()
            self._on(found.group())
        return self.complete

    def _on(self, character: str) -> None:
        if self._in_string:
            if character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = False
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]" and self._depth:
            self._depth -= 1
            self.complete = self._depth == 0
