"""What answers are made of, as protobuf's bytes: fields, headers, metadata."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, Final

from ..names import remembered

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
    return _SMALL[value] if value < 0x80 else _GOES_ON[value & 0x7F] + number(value >> 7)


def begun(at: int, size: int) -> bytes:
    """What stands before *size* bytes that are the field *at*, which is below 16."""
    return _TAGS[at] + number(size)


def field(at: int, data: bytes) -> bytes:
    """The field *at*, which is below 16: text, bytes, or another message."""
    return _TAGS[at] + number(len(data)) + data


def header(name: str, value: bytes) -> bytes:
    """Of HeaderMutation: ``set_headers`` once, *name* in place of whatever values it has."""
    key, length = _before_value(name), number(len(value))
    said = len(key) + len(length) + len(value)
    inner = number(said)
    outer = number(said + len(inner) + 1 + len(_OVERWRITE))
    return b"".join([b"\x0a", outer, b"\x0a", inner, key, length, value, _OVERWRITE])


def _name_of(name: str) -> bytes:
    """What stands before a header's value, and its length, under *name*."""
    key = name.encode()
    return b"\x0a" + number(len(key)) + key + b"\x1a"


_before_value: Final = remembered(512)(_name_of)


def _removal_of(name: str) -> bytes:
    return field(2, name.encode())


removal: Final = remembered(512)(_removal_of)
"""Of HeaderMutation: ``remove_headers`` once."""


def struct(values: dict[str, Any]) -> bytes:
    """A Struct of *values*: text, numbers, truth."""
    return b"".join([_member(name, value) for name, value in values.items()])


def _text_of(name: str, value: str) -> bytes:
    """A lone surrogate, which JSON can hold, cannot travel in protobuf's."""
    data = value.encode("utf-8", "replace")
    return _entry(name, b"\x1a" + number(len(data)) + data)


_text: Final = lru_cache(maxsize=512)(_text_of)
"""Mostly the same few for all exchanges."""


def _member(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, bool):
        return _entry(name, b"\x20\x01" if value else b"\x20\x00")
    return _before_number(name) + _double(value)


def _number_of(name: str) -> bytes:
    """What stands before the eight bytes of a number under *name*."""
    return _entry(name, b"\x11" + bytes(8))[:-8]


_before_number: Final = lru_cache(maxsize=512)(_number_of)


def _entry(name: str, value: bytes) -> bytes:
    """Of Struct: ``fields`` once, the Value *value* under *name*."""
    key = name.encode()
    entry = b"\x0a" + number(len(key)) + key + b"\x12" + number(len(value)) + value
    return b"\x0a" + number(len(entry)) + entry
