"""HTTP/2 frames (RFC 9113, sections 4 and 6): numbers, reading, writing. Knows no stream and no state."""

from __future__ import annotations

import struct
from collections import deque
from enum import IntEnum
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

MAX_FRAME_BYTES: Final = 16384
"""The payload that we accept: the smallest maximum that the RFC allows, so that no read waits for a long frame."""

LONG_FRAME_BYTES: Final = 65536
"""The payload that our own two processes take of each other, for frames cost by their number. We send no longer ones
even to a peer that takes them: other streams get their turn in between."""

ANY_BYTES: Final = 2**24 - 1
"""A frame's length can say no more: what is too long the reader says."""

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

HEAD_BYTES: Final = 9
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
    DATA: Shape(True, 0, ANY_BYTES),
    HEADERS: Shape(True, 0, ANY_BYTES),
    PRIORITY: Shape(True, 5, 5),
    RST_STREAM: Shape(True, 4, 4),
    SETTINGS: Shape(False, 0, ANY_BYTES, 6),
    PING: Shape(False, 8, 8),
    GOAWAY: Shape(False, 8, ANY_BYTES),
    WINDOW_UPDATE: Shape(None, 4, 4),
    CONTINUATION: Shape(True, 0, ANY_BYTES),
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
    """Cuts received bytes into frames: ``feed`` them, and ask ``next`` until there is none. The frame that it went on
    to is ``kind``, ``flags``, ``stream_id`` and ``payload``."""

    def __init__(self, longest: int = MAX_FRAME_BYTES) -> None:
        """*longest*: the payload of a frame that is taken."""
        self._longest = longest
        self.kind = self.flags = self.stream_id = 0
        self.payload = b""
        self._data = b""
        self._at = 0
        self._later: deque[tuple[bytes, int]] = deque()
        """What follows, each from some place on."""

    def feed(self, data: bytes) -> None:
        """Add what came."""
        if self._at == len(self._data) and not self._later:
            # Of by far the most reads the one before ended with a frame.
            self._data, self._at = data, 0
        else:
            self._later.append((data, 0))

    def cut(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Type, flags, stream and payload of each frame that is there once *data* has come."""
        self.feed(data)
        found = []
        while self.next():
            found.append((self.kind, self.flags, self.stream_id, self.payload))
        return found

    def next(self) -> bool:
        """Go on to the next frame, if it is all there. Raises ConnectionFault for one that is too long; then it is not
        to be used again."""
        while True:
            data, at = self._data, self._at
            lacking = at + HEAD_BYTES - len(data)
            if lacking <= 0:
                # Byte by byte: a third of what unpacking takes.
                size = (data[at] << 16) + (data[at + 1] << 8) + data[at + 2]
                if size > self._longest:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
                start = at + HEAD_BYTES
                end = start + size
                lacking = end - len(data)
                if lacking <= 0:
                    self.kind, self.flags = data[at + 3], data[at + 4]
                    number = (data[at + 5] << 24) + (data[at + 6] << 16) + (data[at + 7] << 8) + data[at + 8]
                    self.stream_id = number & MAX_STREAM_ID
                    self.payload = data[start:end]
                    self._at = end
                    return True
            if not self._later:
                # Of a whole read no more is kept than the frame that it broke off in.
                self._data, self._at = data[at:], 0
                return False
            following, begin = self._later.popleft()
            if at == len(data):
                self._data, self._at = following, begin
                continue
            # Only the frame that was cut is put together: most reads of a long message begin within one, and are long.
            self._data, self._at = data[at:] + following[begin : begin + lacking], 0
            if len(following) > begin + lacking:
                self._later.appendleft((following, begin + lacking))


def unpadded(payload: bytes) -> bytes:
    """The payload of a PADDED frame without its padding. Raises ConnectionFault for more padding than frame."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "padding longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """A frame's nine bytes."""
    return HEAD.pack(length << 8 | kind, flags, stream_id)


def data_head(stream_id: int, length: int) -> bytes:
    """The nine bytes of DATA that ends nothing."""
    # A number of nine bytes: a third of what packing takes, and of most messages one goes out for each.
    return (length << 48 | stream_id).to_bytes(HEAD_BYTES, "big")


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
