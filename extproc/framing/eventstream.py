"""application/vnd.amazon.eventstream: bytes in, messages out, and back (AWS, "Event stream encoding", Nov 2026).

A message on the wire, all numbers big-endian::

    u32 total length | u32 headers' length | u32 CRC-32 of these 8 bytes | headers | payload | u32 CRC-32 of all before
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple
from zlib import crc32

DEFAULT_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MAX_HEADER_BYTES: Final = 128 * 1024

_PRELUDE: Final = struct.Struct(">III")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_OVERHEAD: Final = 16
"""Bytes of a message that are neither headers nor payload."""

HeaderValue = bool | int | bytes | str


class EventStreamMessage(NamedTuple):
    """``headers`` by name, not to be changed: messages share them. A timestamp is an int (milliseconds), a UUID is its
    16 bytes."""

    headers: dict[str, HeaderValue]
    payload: bytes


class Corrupt(NamedTuple):
    """From here on the stream cannot be read. The last thing that a decoder hands out."""

    problem: str


class EventStreamDecoder:
    """Incremental: any cut of the same bytes gives the same messages, each handed out with the byte that ends it.

    What breaks the stream (a wrong checksum, a length out of bounds) comes as ``Corrupt`` behind the messages before,
    never as an exception, so that where the bytes were cut cannot matter. All that follows it is ignored.
    """

    __slots__ = ("_buffer", "_corrupt", "_headers", "_max", "_needed", "_raw_headers")

    def __init__(self, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._needed = _PRELUDE.size  # bytes in the buffer without which nothing more can be told
        self._max = max_message_bytes
        self._corrupt = False
        # Most messages bear the headers of the one before them.
        self._raw_headers = b""
        self._headers: dict[str, HeaderValue] = {}

    def feed(self, data: bytes) -> list[EventStreamMessage | Corrupt]:
        """The messages that *data* completes."""
        if self._corrupt:
            return []
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._needed:
            return []
        found: list[EventStreamMessage | Corrupt] = []
        whole = bytes(buffer)
        start = 0
        try:
            while (size := self._size(whole, start)) is not None:
                found.append(self._message(whole, start, size))
                start += size
        except _CorruptError as error:
            found.append(Corrupt(str(error)))
            self._corrupt = True
            start = len(buffer)
        del buffer[:start]
        return found

    def end(self) -> list[EventStreamMessage | Corrupt]:
        """The peer closed. Part of a message means nothing: it is left to the caller to find its stream unfinished."""
        self._buffer.clear()
        return []

    def _size(self, data: bytes, start: int) -> int | None:
        """The length of the message at *start*; ``None`` when it has not come whole."""
        self._needed = _PRELUDE.size
        if len(data) - start < _PRELUDE.size:
            return None
        total, headers, checksum = _PRELUDE.unpack_from(data, start)
        if crc32(data[start : start + 8]) != checksum:
            raise _CorruptError("the checksum of a message's prelude is wrong")
        if not _OVERHEAD <= total <= self._max:
            raise _CorruptError(f"a message of {total} bytes, which is not within {_OVERHEAD} and {self._max}")
        if headers > min(total - _OVERHEAD, MAX_HEADER_BYTES):
            raise _CorruptError(f"a message of {total} bytes with {headers} bytes of headers")
        if len(data) - start < total:
            self._needed = total
            return None
        return int(total)

    def _message(self, data: bytes, start: int, size: int) -> EventStreamMessage:
        end = start + size - 4
        if crc32(memoryview(data)[start:end]) != _U32.unpack_from(data, end)[0]:
            raise _CorruptError("the checksum of a message is wrong")
        headers_start = start + _PRELUDE.size
        headers_end = headers_start + _U32.unpack_from(data, start + 4)[0]
        raw = data[headers_start:headers_end]
        if raw != self._raw_headers:
            self._headers = _parse_headers(raw)
            self._raw_headers = raw
        return EventStreamMessage(self._headers, data[headers_end:end])


class _CorruptError(Exception):
    pass


_FIXED: Final = {kind: struct.Struct(form) for kind, form in ((2, ">b"), (3, ">h"), (4, ">i"), (5, ">q"), (8, ">q"))}
"""Header types of a fixed length: byte, short, integer, long, timestamp."""


def _parse_headers(data: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    position = 0
    try:
        while position < len(data):
            name_end = position + 1 + data[position]
            name = data[position + 1 : name_end].decode("utf-8", "replace")
            value, position = _parse_value(data, name_end)
            if position > len(data):
                raise IndexError
            headers[name] = value
    except (IndexError, struct.error):
        raise _CorruptError("a message's header is cut off") from None
    return headers


def _parse_value(data: bytes, position: int) -> tuple[HeaderValue, int]:
    """The value whose type stands at *position*, and where the next header begins."""
    kind = data[position]
    position += 1
    if kind in (6, 7):
        start = position + 2
        end = start + _U16.unpack_from(data, position)[0]
        raw = data[start:end]
        return (raw if kind == 6 else raw.decode("utf-8", "replace")), end
    if kind in (0, 1):
        return kind == 0, position
    if kind in _FIXED:
        value: int = _FIXED[kind].unpack_from(data, position)[0]
        return value, position + _FIXED[kind].size
    if kind == 9:
        return data[position : position + 16], position + 16
    raise _CorruptError(f"a message's header is of the unknown type {kind}")


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Headers on the wire, all of type string. A name is at most 255 bytes, a value at most 65,535."""
    parts = []
    for name, value in headers.items():
        raw_name, raw_value = name.encode(), value.encode()
        parts += [bytes((len(raw_name),)), raw_name, b"\x07", _U16.pack(len(raw_value)), raw_value]
    return b"".join(parts)


def encode(headers: bytes, payload: bytes) -> bytes:
    """One message on the wire. *headers* as ``encode_headers`` makes them: most messages share theirs with others."""
    lengths = struct.pack(">II", _OVERHEAD + len(headers) + len(payload), len(headers))
    message = b"".join((lengths, _U32.pack(crc32(lengths)), headers, payload))
    return message + _U32.pack(crc32(message))
