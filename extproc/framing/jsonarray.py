"""One JSON array as it comes: bytes in, elements out. Google's APIs stream so, where nobody asks for events."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_MAX_ELEMENT_BYTES: Final = 16 * 1024 * 1024
_STRUCTURAL: Final = re.compile(rb'["{}\[\]]')
_IN_STRING: Final = re.compile(rb'["\\]')


class ElementTooLarge(Exception):
    """More bytes without the end of an element than the decoder keeps. ``before``: the elements that were complete."""

    def __init__(self, max_bytes: int, before: list[bytes]) -> None:
        super().__init__(f"more than {max_bytes} bytes without the end of an element")
        self.before = before


class JsonArrayDecoder:
    """Incremental: any cut of the same bytes gives the same elements, each handed out with the byte that ends it. Of
    elements only objects are told apart; a body that is one object alone is its own element.

    ``closed``: the array has ended as it should. What stands between elements is not looked at.
    """

    __slots__ = ("_buffer", "_depth", "_escaped", "_in_string", "_max", "_opened", "_position", "closed")

    def __init__(self, max_element_bytes: int = DEFAULT_MAX_ELEMENT_BYTES) -> None:
        self._buffer = bytearray()
        self._position = 0  # how far the buffer has been looked at
        self._depth = 0  # of the element that has begun
        self._in_string = False
        self._escaped = False
        self._opened = False
        self._max = max_element_bytes
        self.closed = False

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that *data* completes. Raises ElementTooLarge."""
        self._buffer += data
        elements: list[bytes] = []
        while self._step(elements):
            pass
        if len(self._buffer) > self._max:
            raise ElementTooLarge(self._max, elements)
        return elements

    def end(self) -> list[bytes]:
        """The peer closed: what an unfinished last element holds so far."""
        last = bytes(self._buffer)
        self._buffer.clear()
        self._position = 0
        return [last] if self._depth else []

    def _step(self, elements: list[bytes]) -> bool:
        """Look at the buffer up to the next character that matters; whether there was one."""
        if not self._depth:
            return self._between()
        if self._escaped:
            if self._position >= len(self._buffer):
                return False
            self._escaped = False
            self._position += 1
        found = (_IN_STRING if self._in_string else _STRUCTURAL).search(self._buffer, self._position)
        if found is None:
            self._position = len(self._buffer)
            return False
        self._position = found.end()
        self._on(found.group(), elements)
        return True

    def _on(self, character: bytes, elements: list[bytes]) -> None:
        if self._in_string:
            if character == b"\\":
                self._escaped = True
            else:
                self._in_string = False
        elif character == b'"':
            self._in_string = True
        elif character in (b"{", b"["):
            self._depth += 1
        else:
            self._depth -= 1
            if not self._depth:
                size = self._position
                if size > self._max:
                    raise ElementTooLarge(self._max, elements)
                elements.append(bytes(self._buffer[:size]))
                del self._buffer[:size]
                self._position = 0

    def _between(self) -> bool:
        """Skip to where an element begins. The array's own bracket is the first character of all."""
        buffer = self._buffer
        start = 0
        while start < len(buffer):
            character = buffer[start]
            if character == 0x5B and not self._opened:
                self._opened = True
            elif character == 0x7B:
                del buffer[:start]
                self._opened = True
                self._position = self._depth = 1
                return True
            elif character == 0x5D:
                self.closed = True
            start += 1
        buffer.clear()
        self._position = 0
        return False
