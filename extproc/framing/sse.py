"""Server-sent events: bytes in, events out, and back (WHATWG HTML, "Server-sent events", as of 2026).

Five departures, because real model servers need them: an event that the end of the stream leaves unfinished still
counts; comments are handed out, because they keep a client's timers alive; a bare JSON object counts as data, which is
how many a gateway writes an error into a stream; and so does a field named ``error``, llama.cpp's for the same; and
lines that hold a JSON object each are an event each, though no blank line stands between them.
"""

from __future__ import annotations

from typing import Final

from ..frozen import Frozen

DEFAULT_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Whole images and tool inputs can travel in one event."""

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 0x0D
_LF: Final = 0x0A
"""As numbers: bytes that are to be found in bytes Python takes for a number first, and the error that it then swallows
costs as much as the rest of reading an event."""


class ServerSentEvent(Frozen):
    """``event`` is empty when the server named none. Data of several lines are joined by newlines."""

    event: bytes
    data: bytes


COMMENT: Final = ServerSentEvent(b":", b"")
"""Stands for one or more comment lines; an event cannot be named so."""


class EventTooLarge(Exception):
    """More bytes without the end of an event than the decoder keeps. ``before``: the events that were complete."""

    def __init__(self, max_bytes: int, before: list[ServerSentEvent]) -> None:
        super().__init__(f"more than {max_bytes} bytes without the end of an event")
        self.before = before


class SseDecoder:
    """Incremental: any cut of the same bytes gives the same events, each handed out with the byte that ends it."""

    __slots__ = ("_after_cr", "_buffer", "_first", "_max", "_searched")

    def __init__(self, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._searched = 0  # how far the buffer holds no end of an event
        self._after_cr = False
        self._first = True
        self._max = max_event_bytes

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that *data* completes. Raises EventTooLarge."""
        if self._after_cr and data:
            # The CR was taken for a line's end when it came, so that its event need not wait for this byte.
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._buffer and data.endswith(b"\n\n") and len(data) <= self._max:
            block = data[:-2]
            return self._parse_all([block] if _is_one(block) else data.split(b"\n\n"))
        return self._feed_buffer(data)

    def _feed_buffer(self, data: bytes) -> list[ServerSentEvent]:
        buffer = self._buffer
        buffer += data
        blocks: list[bytes] = []
        start = 0
        while (end := buffer.find(b"\n\n", max(start, self._searched - 1))) >= 0:
            if end - start >= self._max:
                break
            blocks.append(bytes(buffer[start:end]))
            start = self._searched = end + 2
        del buffer[:start]
        self._searched = len(buffer)
        events = self._parse_all(blocks)
        # The bound is on the event, not on what happened to come with it: where the bytes were cut must not matter.
        if end >= 0 or self._searched > self._max:
            raise EventTooLarge(self._max, events)
        return events

    def end(self) -> list[ServerSentEvent]:
        """The peer closed: what an unfinished last event holds so far."""
        last = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return self._parse_all([last])

    def _parse_all(self, blocks: list[bytes]) -> list[ServerSentEvent]:
        events = []
        for block in blocks:
            if not block:
                continue
            if self._first:
                self._first = False
                block = block.removeprefix(_BOM)
            event = _parse(block)
            if event is None:
                continue
            if _LF in event.data:
                events += _several(event)
            else:
                events.append(event)
        return events


def _is_one(block: bytes) -> bool:
    """Whether *block* plainly is one event, of one line or two, as nearly every piece of a stream is. Neither splitting
    nor counting says it as cheaply, and to find something costs four times what to ask for it does."""
    if _LF not in block:
        return True
    rest = block.partition(b"\n")[2]
    return rest != b"" and rest[0] != _LF and _LF not in rest


def _parse(block: bytes) -> ServerSentEvent | None:
    if block.startswith(b"data: ") and _LF not in block:
        return ServerSentEvent(b"", block[6:])
    if block.startswith(b"event: "):
        name, _, rest = block.partition(b"\n")
        if rest.startswith(b"data: ") and _LF not in rest:
            return ServerSentEvent(name[7:], rest[6:])
    event, data, comment = b"", [], False
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if not name:
            comment = comment or line != b""
            continue
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
        elif name == b"error":
            event = name
            data.append(value)
    if data:
        return ServerSentEvent(event, b"\n".join(data))
    if block.startswith(b"{"):
        return ServerSentEvent(event, block)
    return COMMENT if comment else None


def _several(event: ServerSentEvent) -> list[ServerSentEvent]:
    """The events in the lines of one, where each line says by itself what it is."""
    lines = [line for line in event.data.split(b"\n") if line.strip()]
    if all((line.startswith(b"{") and line.endswith(b"}")) or line.startswith(b"[DONE]") for line in lines):
        return [ServerSentEvent(event.event, line) for line in lines]
    return [event]


def encode(data: bytes, event: bytes = b"") -> bytes:
    """One event on the wire: of *data* a field for each of its lines. It holds no carriage return."""
    if _LF in data:
        data = data.replace(b"\n", b"\ndata: ")
    if event:
        return b"event: " + event + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


def encode_comment(text: bytes = b"ping") -> bytes:
    """A comment: keeps idle timers alive and means nothing."""
    return b": " + text + b"\n\n"
