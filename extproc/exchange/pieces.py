"""A stream's pieces, read and written by hand: of a long stream nearly every message is one, and says nothing else.

protobuf would build its tree of objects for each, with the dynamic metadata that Envoy sends along every time. Its
allocator also has the C library give all free memory back to the kernel (``malloc_trim``), every 1,700 pieces as was
seen: all streams wait meanwhile, and the next large body finds none of the memory that the last one left.

Whatever looks unlike such a message is left to ``incoming``: ``read`` says so with ``None``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from .outgoing import LONG, Encoded
from .written import number

_RESPONSE_BODY: Final = 5 << 3 | 2
_METADATA_CONTEXT: Final = 8 << 3 | 2
_BODY: Final = 1 << 3 | 2
# Of ProcessingResponse: response_body, of that response, of that body_mutation, of that body.
_PATH: Final = (4 << 3 | 2, 1 << 3 | 2, 3 << 3 | 2, 1 << 3 | 2)
UNCHANGED: Final = bytes([_PATH[0], 2, _PATH[1], 0])
"""The answer to a piece that goes on as it came."""


def read(message: bytes) -> bytes | None:
    """The bytes of a ProcessingRequest that is a piece of a response's body, in its middle: ``end_of_stream`` is not
    set. Dynamic metadata may come with it, nothing else may."""
    size = len(message)
    if size < 2 or message[0] != _RESPONSE_BODY:
        return None
    start, length = _varint(message, 1)
    end = start + length
    if end < size:
        if message[end] != _METADATA_CONTEXT:
            return None
        after, rest = _varint(message, end + 1)
        if after + rest != size:
            return None
    elif end > size:
        return None
    if not length:
        return b""
    if message[start] != _BODY:
        return None
    first, inside = _varint(message, start + 1)
    return message[first:end] if first + inside == end else None


def write(body: bytes) -> Encoded:
    """The ProcessingResponse that puts *body* in the piece's place; empty, nothing of it goes on."""
    size = len(body)
    return _head(size) + body if size < LONG else (_head(size), body)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Where the number at *at* ends, and the number; one that is cut off or too long ends beyond the data."""
    value = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, value
        shift += 7
    return len(data) + 1, 0


@lru_cache(maxsize=1024)
def _head(size: int) -> bytes:
    """What stands before a body of so many bytes."""
    made = b""
    for tag in reversed(_PATH):
        made = bytes([tag]) + number(size + len(made)) + made
    return made
