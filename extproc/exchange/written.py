"""What answers are made of, as protobuf's bytes: fields, headers, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

_SMALL: Final = [bytes([size]) for size in range(0x80)]
"""Lengths of one byte: nearly all."""
_GOES_ON: Final = [bytes([size | 0x80]) for size in range(0x80)]
"""Seven bits of a length behind which more of it follow."""
_TAGS: Final = [bytes([at << 3 | 2]) for at in range(16)]
_OVERWRITE: Final = b"\x18\x02"
"""Of HeaderValueOption: ``append_action: OVERWRITE_IF_EXISTS_OR_ADD``."""
_double: Final = Struct("<d").pack


def number(value: int) -> bytes:
    """A length, seven bits at a time, the lowest first."""
    made = b""
    while value > 0x7F:
        made += _GOES_ON[value & 0x7F]
        value >>= 7
    return made + _SMALL[value] if made else _SMALL[value]


def begun(at: int, size: int) -> bytes:
    """What stands before *size* bytes that are the field *at*, which is below 16."""
    return _TAGS[at] + number(size)


def field(at: int, data: bytes) -> bytes:
    """The field *at*, which is below 16: text, bytes, or another message."""
    return _TAGS[at] + number(len(data)) + data


def header(name: str, value: bytes) -> bytes:
    """Of HeaderMutation: ``set_headers`` once, *name* in place of whatever values it has."""
    key = name.encode()
    said = b"\x0a" + number(len(key)) + key + b"\x1a" + number(len(value)) + value
    option = b"\x0a" + number(len(said)) + said + _OVERWRITE
    return b"\x0a" + number(len(option)) + option


def struct(values: Mapping[str, Any]) -> bytes:
    """A Struct of *values*: text, numbers, truth."""
    return b"".join([_member(name, value) for name, value in values.items()])


@lru_cache(maxsize=512)
def _text(name: str, value: str) -> bytes:
    """Mostly the same few for all exchanges. A lone surrogate, which JSON can hold, cannot travel in protobuf's."""
    data = value.encode("utf-8", "replace")
    return _entry(name, b"\x1a" + number(len(data)) + data)


def _member(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, bool):
        return _entry(name, b"\x20\x01" if value else b"\x20\x00")
    return _before_number(name) + _double(value)


@lru_cache(maxsize=512)
def _before_number(name: str) -> bytes:
    """What stands before the eight bytes of a number under *name*."""
    return _entry(name, b"\x11" + bytes(8))[:-8]


def _entry(name: str, value: bytes) -> bytes:
    """Of Struct: ``fields`` once, the Value *value* under *name*."""
    key = name.encode()
    entry = b"\x0a" + number(len(key)) + key + b"\x12" + number(len(value)) + value
    return b"\x0a" + number(len(entry)) + entry
