"""HTTP/2 frames (RFC 9113, sections 4 and 6): numbers, reading, writing. Knows no stream and no state."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

MAX_FRAME_BYTES: Final = 16384
"""The payload that we accept: the smallest maximum that the RFC allows, so that no read waits for a long frame."""

MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65535

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

HEAD: Final = struct.Struct(">IBI")
"""Nine bytes: length (24 bits) and type (8 bits) in one word, flags, stream."""

SETTING: Final = struct.Struct(">HI")
WORD: Final = struct.Struct(">I")
GOAWAY_HEAD: Final = struct.Struct(">II")


class Code(IntEnum):
    """Error codes (RFC 9113, section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(Exception):
    """The peer broke the connection's rules: answered with GOAWAY, and the connection ends."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """The peer broke one stream's rules: answered with RST_STREAM; the others go on."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Shape(NamedTuple):
    """What a frame must look like before anyone looks inside."""

    on_stream: bool | None
    """True: on a stream only; False: on stream 0 only; None: on either."""

    shortest: int
    longest: int
    multiple: int = 1


# RFC 9113, section 6, "MUST treat ... as a connection error". PRIORITY's length is the one stream error (6.3).
SHAPES: Final = {
    DATA: Shape(True, 0, MAX_FRAME_BYTES),
    HEADERS: Shape(True, 0, MAX_FRAME_BYTES),
    PRIORITY: Shape(True, 5, 5),
    RST_STREAM: Shape(True, 4, 4),
    SETTINGS: Shape(False, 0, MAX_FRAME_BYTES, 6),
    PING: Shape(False, 8, 8),
    GOAWAY: Shape(False, 8, MAX_FRAME_BYTES),
    WINDOW_UPDATE: Shape(None, 4, 4),
    CONTINUATION: Shape(True, 0, MAX_FRAME_BYTES),
}


def check_shape(kind: int, stream_id: int, payload: bytes) -> None:
    """Raise the fault that the RFC names for a frame on the wrong stream or of the wrong length."""
    shape = SHAPES[kind]
    if shape.on_stream is not None and shape.on_stream != (stream_id != 0):
        where = "a stream" if shape.on_stream else "the connection"
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"frame type {kind} belongs to {where}")
    if not shape.shortest <= len(payload) <= shape.longest or len(payload) % shape.multiple:
        fault = StreamFault if kind == PRIORITY else ConnectionFault
        raise fault(Code.FRAME_SIZE_ERROR, f"frame type {kind} with {len(payload)} bytes")


class FrameReader:
    """Cuts received bytes into frames. Keeps at most one unfinished frame: 9 + ``MAX_FRAME_BYTES`` bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (type, flags, stream, payload) of each frame that is complete now.

        Must be run to its end, or not be used again. Raises ConnectionFault for a frame that is too long.
        """
        unpack, position, size = HEAD.unpack_from, 0, len(data)
        if self._rest:
            # Only the frame that was cut is put together: most reads of a long message begin within one, and are long.
            rest, self._rest = self._rest, b""
            position = _lacking(rest, data)
            yield from self.feed(rest + data[:position])
            if position >= size:
                return
        while size - position >= 9:
            word, flags, stream_id = unpack(data, position)
            start = position + 9
            end = start + (word >> 8)
            if end - start > MAX_FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {end - start} bytes")
            if end > size:
                break
            position = end
            yield word & 0xFF, flags, stream_id & MAX_STREAM_ID, data[start:end]
        self._rest = data[position:]


def _lacking(rest: bytes, data: bytes) -> int:
    """How many bytes the frame that begins with ``rest`` lacks. ``data`` follows; if it ends within the head, any
    number of bytes that it has not."""
    start = rest[: HEAD.size] + data[: HEAD.size]
    return HEAD.size - len(rest) + (WORD.unpack_from(start)[0] >> 8 if len(start) >= HEAD.size else HEAD.size)


def unpadded(payload: bytes) -> bytes:
    """The payload of a PADDED frame without its padding. Raises ConnectionFault for more padding than frame."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "padding longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """A frame's nine bytes."""
    return HEAD.pack(length << 8 | kind, flags, stream_id)


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, payload=b"".join(SETTING.pack(*item) for item in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream_id, WORD.pack(increment))


def rst_stream(stream_id: int, code: Code) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, WORD.pack(code))


def goaway(last_stream_id: int, code: Code, reason: str = "") -> bytes:
    """A GOAWAY frame; the reason is debug data for whoever reads the peer's log."""
    return frame(GOAWAY, payload=GOAWAY_HEAD.pack(last_stream_id, code) + reason.encode()[:256])
