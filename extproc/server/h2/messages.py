"""gRPC over HTTP/2, the parts that are bytes: messages, statuses, trailers ("gRPC over HTTP2", grpc/grpc docs)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final
from urllib.parse import quote

from .heads import block

PREFIX_BYTES: Final = 5
"""Before each message: one byte that says whether it is compressed, and four with its length."""

SHORT: Final = 4096
"""What comes behind so short a piece is put to it, so that many tiny pieces are not kept as such."""


InParts = bytes | tuple[bytes, ...]
"""A message that is sent. A long one may be in several parts, so that nobody has to put them together."""


class Status(IntEnum):
    """The gRPC statuses that this server gives."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class CallFailed(Exception):
    """Ends a call with a status other than OK. May be raised by the code that answers calls, too."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class MessageTooLong(CallFailed):
    """A message is announced that exceeds the limit."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(Status.RESOURCE_EXHAUSTED, f"a message of {length} bytes; at most {limit} are taken")


HEADERS: Final = block((":status", "200"), ("content-type", "application/grpc"))
OK_TRAILERS: Final = block(("grpc-status", "0"))
NOT_GRPC: Final = block((":status", "415"))
NOT_POST: Final = block((":status", "405"), ("allow", "POST"))

SAFE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def trailers(status: int, message: str = "") -> bytes:
    """The block that ends an answer; 1 KB of the message at most, percent-encoded as gRPC wants it."""
    return OK_TRAILERS if status == 0 else block(*_fields(status, message))


def trailers_only(status: int, message: str = "") -> bytes:
    """The block of an answer that has no message."""
    return block((":status", "200"), ("content-type", "application/grpc"), *_fields(status, message))


def _fields(status: int, message: str) -> list[tuple[str, str]]:
    fields = [("grpc-status", str(int(status)))]
    if message:
        fields.append(("grpc-message", quote(message[:1024].strip(), safe=SAFE)))
    if status == Status.UNIMPLEMENTED:
        fields.append(("grpc-accept-encoding", "identity"))
    return fields


def prefix(size: int) -> bytes:
    """What goes before a message of so many bytes."""
    # A number of five bytes: half of what packing takes.
    return size.to_bytes(PREFIX_BYTES, "big")


def prefixed(message: bytes) -> bytes:
    """A message as it goes into DATA frames."""
    return prefix(len(message)) + message


def length_at(data: bytes, at: int) -> int:
    """The length of the message whose prefix stands at *at*."""
    # Byte by byte: a third of what unpacking takes.
    return (data[at + 1] << 24) + (data[at + 2] << 16) + (data[at + 3] << 8) + data[at + 4]


class Inbox:
    """Cuts one call's DATA into messages: several in one frame, one over many. Holds bytes, never cut messages, so that
    a flood of tiny ones costs no more than its bytes.

    A message over many frames is put together once, when it is whole: a third of what growing it with each frame costs.
    """

    __slots__ = ("_at", "_chunks", "_encoding", "_length", "_limit", "_size")

    def __init__(self, limit: int, encoding: str) -> None:
        """``limit``: bytes of one message. ``encoding``: the call's grpc-encoding header."""
        self._chunks: list[bytes] = []
        self._at = 0
        """The position in the first chunk up to which bytes have been given out."""

        self._size = 0
        """How many bytes are still to be given out, not counting the prefix that ``_length`` was read from."""

        self._length: int | None = None
        """The length of the message that is being read, once its prefix has been taken from the chunks."""

        self._limit = limit
        self._encoding = encoding

    def __len__(self) -> int:
        return self._size if self._length is None else self._size + PREFIX_BYTES

    @property
    def announced(self) -> int:
        """Bytes of the message that is not whole yet, with its prefix; 0 if none has begun."""
        return 0 if self._length is None else self._length + PREFIX_BYTES

    @property
    def whole(self) -> int:
        """Bytes of a message over many frames that is there; 0 while it is not, and for others."""
        return self._length if self._length is not None and self._size >= self._length else 0

    def feed(self, data: bytes) -> None:
        """Add what came."""
        chunks = self._chunks
        if chunks and len(chunks[-1]) < SHORT:
            chunks[-1] += data
        else:
            chunks.append(data)
        self._size += len(data)

    def next_parts(self) -> list[bytes]:
        """The message over many frames that is ``whole``, in the parts in which it came."""
        assert self._length is not None
        self._size -= self._length
        self._length = None
        parts, behind = self._chunks, self._size
        following: list[bytes] = []
        self._chunks = following
        while behind:
            last = parts.pop()
            kept = max(0, len(last) - behind)
            behind -= len(last) - kept
            following.insert(0, last[kept:])
            if kept:
                parts.append(last[:kept])
        return parts

    def next(self) -> bytes | None:
        """The next message, or None while it is not all there. Raises CallFailed for one that cannot be taken."""
        length = self._length
        if length is None:
            if self._size < PREFIX_BYTES:
                return None
            length, start = self._announced()
            first = self._chunks[0]
            end = start + length
            if end <= len(first):
                self._size -= PREFIX_BYTES + length
                if end == len(first):
                    self._chunks.pop(0)
                    end = 0
                self._at = end
                return first[start : start + length]
            self._chunks[0] = first[start:]
            self._at = 0
            self._size -= PREFIX_BYTES
            self._length = length
        if self._size < length:
            return None
        return b"".join(self.next_parts())

    def rest(self) -> bytes:
        """All that has not been given out, in one piece; it is given out with this."""
        held = b"".join(self._chunks)[self._at :]
        if self._length is not None:
            held = prefix(self._length) + held
        self._chunks, self._at, self._size, self._length = [], 0, 0, None
        return held

    def _announced(self) -> tuple[int, int]:
        """The next message's length, and where it begins in the first chunk. Raises CallFailed."""
        first, at = self._chunks[0], self._at
        if len(first) - at < PREFIX_BYTES:
            first, at = b"".join(self._chunks)[at:], 0
            self._chunks, self._at = [first], at
        if first[at]:
            raise self._compressed(first[at])
        length = length_at(first, at)
        if length > self._limit:
            raise MessageTooLong(length, self._limit)
        return length, at + PREFIX_BYTES

    def _compressed(self, flag: int) -> CallFailed:
        if flag == 1 and self._encoding not in ("", "identity"):
            return CallFailed(Status.UNIMPLEMENTED, f"grpc-encoding {self._encoding} is not supported")
        return CallFailed(Status.INTERNAL, "a message with the compressed flag, but no compression was announced")
