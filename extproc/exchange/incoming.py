"""What Envoy says, read by hand: a ProcessingRequest, as far as anything here asks for it.

protobuf makes an object of each header, attribute and value, and looks each member of it up by its name: that took
several times what is read here.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from ..headers import Headers
from . import written
from .phases import Kind

FILTER: Final = "envoy.filters.http.ext_proc"
"""Under which attributes come."""
_FILTER: Final = FILTER.encode()
# A field's tag is its number and its form. Final: so the compiler writes them where they are used.
_BEFORE_A_BODY: Final = 24
"""More bytes than stand before one."""
_BYTES: Final = 2
"""The form of what a length and so many bytes follow: text, bytes, another message."""
_FIRST: Final = 1 << 3 | 2
"""Of most messages here that is all there is, or the key of a map's entry."""
_SECOND: Final = 2 << 3 | 2
_THIRD: Final = 3 << 3 | 2
_METADATA: Final = 8 << 3 | 2
_ATTRIBUTES: Final = 9 << 3 | 2
_PROTOCOL: Final = 11 << 3 | 2
_FIRST_NUMBER: Final = 1 << 3
_SECOND_NUMBER: Final = 2 << 3
_THIRD_NUMBER: Final = 3 << 3
_SECOND_DOUBLE: Final = 2 << 3 | 1

_double: Final = Struct("<d").unpack_from

Texts = dict[str, str | float]
"""A Struct's members: those that are texts or numbers, and of any other an empty text."""
NOTHING: Final[Texts] = {}


class Malformed(ValueError):
    """What came is no ProcessingRequest."""


class Incoming:
    """One message: of ``kind``, ``None`` if it is of none that there is."""

    __slots__ = ("_metadata", "attributes", "body", "end_of_stream", "headers", "kind", "modes", "pseudo")

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.pseudo: dict[str, str] = {}
        """Of a head: the pseudo headers by name,"""
        self.headers: Headers = []
        """and the rest; bytes beyond ASCII as Latin-1."""
        self.body = b""
        self.end_of_stream = False
        self.attributes = NOTHING
        """What Envoy was asked to tell, by the expression that asked for it."""
        self.modes: tuple[int, int] | None = None
        """The body modes of the filter, the request's and the response's, where Envoy says them."""
        self._metadata = b""

    def metadata(self, namespace: str) -> Texts:
        """The dynamic metadata in *namespace*, as far as Envoy forwards it and it can be read."""
        data, wanted, found = self._metadata, namespace.encode(), NOTHING
        at, size = 0, len(data)
        try:
            while at < size:
                tag, start, at = _field(data, at, size)
                if tag == _FIRST:
                    found = _under(data, start, at, wanted, found)
        except (Malformed, UnicodeDecodeError):
            return NOTHING
        return found


def read(data: bytes) -> Incoming:
    """The message that *data* is. Raises Malformed."""
    found = Incoming()
    at, size = 0, len(data)
    try:
        while at < size:
            tag, start, at = _field(data, at, size)
            if (known := _KINDS.get(tag)) is not None:
                found.kind, read_inside = known
                read_inside(found, data, start, at)
            elif tag == _ATTRIBUTES:
                found.attributes = _under(data, start, at, _FILTER, found.attributes)
            elif tag == _METADATA:
                found._metadata = data[start:at]
            elif tag == _PROTOCOL:
                found.modes = _two_numbers(data, start, at)
    except UnicodeDecodeError:
        raise Malformed("what should be text is not") from None
    return found


def read_long(parts: list[bytes]) -> Incoming:
    """The same for a long message, in the *parts* in which it came: its body is put together once, without what stands
    around it. Raises Malformed."""
    cut = _without_body(parts)
    if cut is None:
        return read(b"".join(parts))
    rest, body = cut
    found = read(rest)
    if found.body:
        # There are two, and the last one counts.
        return read(b"".join(parts))
    found.body = body
    return found


def _without_body(parts: list[bytes]) -> tuple[bytes, bytes] | None:
    """A message without its body, and the body; ``None`` if it does not begin with one that is all there. Raises
    Malformed."""
    first = parts[0]
    if len(first) < _BEFORE_A_BODY or (_KINDS.get(first[0]) not in _BODIES):
        return None
    length, inner = number(first, 1, _BEFORE_A_BODY)
    if first[inner] != _FIRST:
        return None
    size, start = number(first, inner + 1, _BEFORE_A_BODY)
    around = inner + length - start - size
    behind = sum([len(part) for part in parts]) - start - size
    if around < 0 or behind < around:
        return None
    body: list[bytes | memoryview] = [memoryview(first)[start:], *parts[1:]]
    rest = b""
    while len(rest) < behind:
        last = body.pop()
        kept = max(0, len(last) - (behind - len(rest)))
        if kept:
            body.append(memoryview(last)[:kept])
        rest = bytes(last[kept:]) + rest
    return first[:1] + written.number(around) + rest, b"".join(body)


def number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at *at*, seven bits at a time, the lowest first; and where it ends. Raises Malformed."""
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Malformed("a number without an end")


def _field(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """The field at *at*, of a message that ends at *end*, behind it: its tag, then where its bytes begin or the number
    that it is, and where it ends. Raises Malformed."""
    # Tags and lengths of one byte, which nearly all are, without a call for each.
    tag = data[at]
    if tag < 0x80:
        at += 1
    else:
        tag, at = number(data, at, end)
    form = tag & 7
    if form == _BYTES:
        size = data[at] if at < end else 0x80
        if size < 0x80:
            start = at + 1
        else:
            size, start = number(data, at, end)
        after = start + size
    elif form == 0:
        start, after = number(data, at, end)
    elif form == 1 or form == 5:
        start, after = at, at + (8 if form == 1 else 4)
    else:
        raise Malformed("a field of no form that there is")
    if after > end:
        raise Malformed("a field is longer than what it is in")
    return tag, start, after


def _read_head(found: Incoming, data: bytes, at: int, end: int) -> None:
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _FIRST:
            _read_headers(found, data, start, at)
        elif tag == _THIRD_NUMBER:
            found.end_of_stream = start != 0


def _read_headers(found: Incoming, data: bytes, at: int, end: int) -> None:
    pseudo, headers = found.pseudo, found.headers
    # One text of which each name and value is a part: nothing is left to decode.
    text = data[at:end].decode("latin-1")
    before, is_plain = at, text.isascii()
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag != _FIRST:
            continue
        name = value = ""
        while start < at:
            part, first, start = _field(data, start, at)
            if part == _FIRST:
                name = text[first - before : start - before] if is_plain else data[first:start].decode()
            elif part == _THIRD:
                value = text[first - before : start - before]
            elif part == _SECOND and not value:
                value = data[first:start].decode()
        if name.startswith(":"):
            pseudo[name] = value
        else:
            headers.append((name, value))


def _read_body(found: Incoming, data: bytes, at: int, end: int) -> None:
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _FIRST:
            found.body = data[start:at]
        elif tag == _SECOND_NUMBER:
            found.end_of_stream = start != 0


def _two_numbers(data: bytes, at: int, end: int) -> tuple[int, int]:
    first = second = 0
    while at < end:
        tag, value, at = _field(data, at, end)
        if tag == _FIRST_NUMBER:
            first = value
        elif tag == _SECOND_NUMBER:
            second = value
    return first, second


def _under(data: bytes, at: int, end: int, wanted: bytes, otherwise: Texts) -> Texts:
    """The Struct that stands in a map's entry, if that is the one of the key *wanted*; else *otherwise*."""
    key, first, last = b"", 0, 0
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _FIRST:
            key = data[start:at]
        elif tag == _SECOND:
            first, last = start, at
    return _struct(data, first, last) if key == wanted else otherwise


def _struct(data: bytes, at: int, end: int) -> Texts:
    found: dict[str, str | float] = {}
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _FIRST:
            name = ""
            value: str | float = ""
            while start < at:
                part, first, start = _field(data, start, at)
                if part == _FIRST:
                    name = data[first:start].decode()
                elif part == _SECOND:
                    value = _value(data, first, start)
            found[name] = value
    return found


def _value(data: bytes, at: int, end: int) -> str | float:
    value: str | float = ""
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _THIRD:
            value = data[start:at].decode()
        elif tag == _SECOND_DOUBLE:
            (value,) = _double(data, start)
        else:
            value = ""
    return value


def _read_nothing(found: Incoming, data: bytes, at: int, end: int) -> None:
    """Nobody asks what trailers are."""


_KINDS: Final = {
    2 << 3 | _BYTES: (Kind.REQUEST_HEADERS, _read_head),
    3 << 3 | _BYTES: (Kind.RESPONSE_HEADERS, _read_head),
    4 << 3 | _BYTES: (Kind.REQUEST_BODY, _read_body),
    5 << 3 | _BYTES: (Kind.RESPONSE_BODY, _read_body),
    6 << 3 | _BYTES: (Kind.REQUEST_TRAILERS, _read_nothing),
    7 << 3 | _BYTES: (Kind.RESPONSE_TRAILERS, _read_nothing),
}
_BODIES: Final = (_KINDS[4 << 3 | _BYTES], _KINDS[5 << 3 | _BYTES])
