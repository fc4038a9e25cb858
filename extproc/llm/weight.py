"""What a JSON text will take in memory once it is decoded, told from its bytes before that is done.

Three bytes of ``[],`` become eighty: not the size of a text says what it costs but how many values it holds. Measured
with the dialects here, from the message that brings a text to the one that carries its translation.
"""

from __future__ import annotations

import re
from typing import Final

NO_BOUND: Final = 2**60
"""Bytes, more than there are: of the numbers that compiled code compares without making an object of them."""
SMALL: Final = 4 * 1024 * 1024
"""Bytes up to which a text is not looked at where forty times as much may be taken: no text takes more."""

_SMALL_FACTOR: Final = 40
_TRANSLATED, _WIDE, _PASSED = 7, 11, 3
"""Copies of a text that are there at once: translated, the same where a character outside of the first 65,536 makes a
string four bytes wide, passed on."""
_VALUE: Final = 140
"""Bytes for each comma, colon and bracket that opens: a list, a string, a member's entry, and what is made of them."""

_KEPT, _KEPT_WIDE, _KEPT_VALUE = 4, 8, 100
"""The same for a text that is read and then waits: its copies, and bytes for each of its values."""

_WIDE_BYTES = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_WIDE_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""One that does not end goes on to the end: beginning anew at each quotation mark in it would take for ever. Nothing is
taken back, so nothing is kept for it."""

_LONG: Final = 32
"""Bytes of a string in which it is worth while to look for such characters."""
_STRUCTURE = (b"[", b"{", b",", b":")
_STRETCH: Final = 64 * 1024
"""Bytes that are counted at a time."""


def is_heavier(data: bytes, most: int, *, passed: bool = False, carried: int = 0) -> bool:
    """Whether handling *data* takes more than *most* bytes of memory, about. *passed*: only its outermost members are
    read. *carried*: so many bytes of strings were taken out of it, in which nothing is that is looked for here."""
    size = len(data) + carried
    if size <= SMALL and size * _SMALL_FACTOR <= most:
        return False
    left = most - size * (_PASSED if passed else _TRANSLATED)
    if left >= 0 and not passed and _is_wide(data):
        left -= size * (_WIDE - _TRANSLATED)
    return left < 0 or _values(data, left // _VALUE) > left // _VALUE


def kept(data: bytes, most: int = 2**62) -> int:
    """Bytes of memory that *data* takes, about, while whoever has read it waits for something; where that is more than
    *most*, any number above it."""
    size = len(data) * (_KEPT_WIDE if _is_wide(data) else _KEPT)
    return size if size > most else size + _values(data, (most - size) // _KEPT_VALUE) * _KEPT_VALUE


def _is_wide(data: bytes) -> bool:
    """Whether a character of the text *data* is outside of the first 65,536. Bytes are looked for one by one: a hundred
    times as fast as for any of several."""
    if not data.isascii() and any(byte in data for byte in _WIDE_BYTES):
        return True
    return b"\\" in data and _WIDE_ESCAPE.search(data) is not None


def _count(data: bytes, mark: bytes) -> int:
    """How often *mark* stands in *data*. What holds none of it, as an image does, is not counted through."""
    count, at = 0, data.find(mark)
    while at >= 0:
        end = at + _STRETCH
        count += data.count(mark, at, end)
        at = data.find(mark, end)
    return count


def _values(data: bytes, most: int) -> int:
    """How many commas, colons and opening brackets stand in *data*, at most. What stands in its strings is told apart
    only where there are more than *most*; the number is above it if there are so many outside of them."""
    count = sum([_count(data, mark) for mark in _STRUCTURE])
    if count <= most:
        return count
    # A table, or a program, in a string weighs no more than other text.
    for strings, found in enumerate(_STRING.finditer(data)):
        if strings > most:
            # Between any two stands one of them.
            return strings
        start, end = found.span()
        if end - start >= _LONG:
            count -= sum([data.count(mark, start, end) for mark in _STRUCTURE])
            if count <= most:
                break
    return count
