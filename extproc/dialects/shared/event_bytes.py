"""The events of a stream as the bytes that they came in, for those who change a few of them and pass the others on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_LINE: Final = re.compile(rb"\r\n|\n|\r")
_decode: Final = msgspec.json.Decoder().decode


class WholeEvents:
    """Holds an event back until its end has come, up to *most* bytes of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = b""

    @property
    def waits(self) -> bool:
        """An event has begun."""
        return bool(self._begun)

    def feed(self, chunk: bytes) -> bytes:
        """The events that *chunk* completes; with them what is too large to wait for."""
        data = self._begun + chunk
        # A mark of the end can be cut in two as well.
        ends = [found.end() for found in _END.finditer(data, max(0, len(self._begun) - 3))]
        complete, self._begun = (data[: ends[-1]], data[ends[-1] :]) if ends else (b"", data)
        if len(self._begun) > self._most:
            complete, self._begun = complete + self._begun, b""
        return complete

    def end(self) -> bytes:
        """What the end of the stream left unfinished."""
        left, self._begun = self._begun, b""
        return left


def split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each event of *data*, and the mark of its end, which the last one may lack."""
    start = 0
    for found in _END.finditer(data):
        yield data[start : found.start()], found.group()
        start = found.end()
    if start < len(data):
        yield data[start:], b""


def message(event: bytes) -> dict[str, Any] | None:
    """The object that is an event's data; ``None`` where it is none."""
    try:
        data = _decode(b"\n".join([line[5:] for line in _LINE.split(event) if line.startswith(b"data:")]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return data if type(data) is dict else None


def with_message(event: bytes, data: bytes) -> bytes:
    """*event* with *data* in place of its own."""
    lines = (line for line in _LINE.split(event) if not line.startswith(b"data:"))
    return b"\n".join([*lines, b"data: " + data])
