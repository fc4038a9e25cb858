"""Reading JSON that is nearly JSON, as servers and clients write it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ...llm.failures import ProtocolError

_decode: Final = msgspec.json.Decoder().decode

# Escapes of a high half without its low one, and of a low half without its high one.
_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
_LOW: Final = rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_HALF: Final = re.compile(_HIGH + b"|" + _LOW)
_CUT_HALF: Final = re.compile(b"(" + _HIGH + b')(?=")|(?<=")(' + _LOW + b")")
"""A high half at the end of a string, a low half at the start of one: a character that was cut in two."""

_HALF: Final = re.compile(f"[{chr(0xD800)}-{chr(0xDFFF)}]")
_NO_NUMBER: Final = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|(-?Infinity|NaN)(?![A-Za-z0-9_])|(-?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?)', re.DOTALL
)
"""No group of a number is possessive: Python 3.11.2, which is Debian's, takes the ``e`` of ``7e`` with one."""
_LARGEST: Final = b"1.7976931348623157e308"

# Stand in for the halves of a cut character until the next message brings the other one: the last code points of a
# plane for private use, which nothing else puts there in a message that holds a lone half.
_HIGH_AT, _LOW_AT = 0x10FC00, 0x10F800


def decode(data: bytes, path: str) -> Any:
    """*data* as JSON. Raises ProtocolError. What is no Unicode, bytes or half a surrogate pair, becomes U+FFFD, NaN
    null, and what is beyond a double the largest one, rather than fail: servers cut texts where they like, and write
    what their language writes."""
    return _read(data, path, cut=False)


def decode_cut(data: bytes, path: str) -> Any:
    """Like ``decode`` for one message of several: halves of a character that was cut between two of them are kept, as
    ``Halves`` joins them."""
    return _read(data, path, cut=True)


def _read(data: bytes, path: str, *, cut: bool) -> Any:
    for mend in (None, _whole_text, _whole_halves if cut else _no_halves, _finite):
        if mend is not None:
            mended = mend(data)
            if mended == data:
                continue
            data = mended
        try:
            return _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problem = f"not JSON: {error}"
        except RecursionError:
            raise ProtocolError(path, "nested too deep") from None
    raise ProtocolError(path, problem)


def _whole_text(data: bytes) -> bytes:
    """Of bytes that are no UTF-8; halves of a pair that were encoded each by itself become escapes."""
    try:
        data.decode()
    except UnicodeDecodeError:
        try:
            text = data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace").encode()
        # What was encoded as two halves, each by itself, joins here; a half alone becomes its escape.
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return _HALF.sub(_escaped, joined).encode()
    return data


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def _no_halves(data: bytes) -> bytes:
    return _LONE_HALF.sub(rb"\\ufffd", data)


def _whole_halves(data: bytes) -> bytes:
    return _no_halves(_CUT_HALF.sub(_stand_in, data))


def _stand_in(found: re.Match[bytes]) -> bytes:
    code = int(found.group()[2:], 16)
    return chr((_HIGH_AT - 0xD800 if code < 0xDC00 else _LOW_AT - 0xDC00) + code).encode()


def _finite(data: bytes) -> bytes:
    return _NO_NUMBER.sub(_finite_number, data)


def _finite_number(found: re.Match[bytes]) -> bytes:
    text = found.group()
    if found[1] is not None:
        return b"null" if text == b"NaN" else b"-" + _LARGEST if text.startswith(b"-") else _LARGEST
    if found[2] is not None and len(text) > 4 and float(text) in (float("inf"), float("-inf")):
        return b"-" + _LARGEST if text.startswith(b"-") else _LARGEST
    return text


class Halves:
    """Joins characters that were cut in two between the pieces of a text. One for each text."""

    __slots__ = ("_high",)

    def __init__(self) -> None:
        self._high = 0

    def feed(self, text: str) -> str:
        """*text* as far as its characters are whole, with the one that it completes."""
        before = ""
        if self._high and text:
            low = ord(text[0]) - _LOW_AT
            if 0 <= low < 0x400:
                before, text = chr(0x10000 + (self._high - _HIGH_AT << 10 | low)), text[1:]
            else:
                before = "\ufffd"
            self._high = 0
        if text and ord(text[-1]) >= _HIGH_AT:
            self._high, text = ord(text[-1]), text[:-1]
        if text and _LOW_AT <= ord(text[0]) < _HIGH_AT:
            text = "\ufffd" + text[1:]
        return before + text

    def end(self) -> str:
        high, self._high = self._high, 0
        return "\ufffd" if high else ""


def may_be_cut(text: str) -> bool:
    """Whether *text* has half a character at one of its ends."""
    return bool(text) and (ord(text[-1]) >= _HIGH_AT or ord(text[0]) >= _LOW_AT)
