"""Inflating compressed bodies, whole or as they arrive, within bounds."""

from __future__ import annotations

import io
import zlib
from typing import Any, Final

import zstandard

_MEANINGLESS: Final = frozenset(
    {"", "identity", "none", "plain", "utf-8", "utf8", "7bit", "8bit", "binary", "null", "chunked"}
)
"""What servers write into ``content-encoding`` above bytes that are not encoded at all."""

_GZIP: Final = b"\x1f\x8b"
_ANSWERS = (b"{", b"[", b"<", b":", b"da", b"ev", b"id", b" ", b"\r", b"\n")
"""How JSON, a page and a stream of events begin, and nothing that was compressed."""

_MAX_MEMBERS: Final = 100_000
"""Parts of one gzip body: each costs the making of a decoder, however little it holds."""
_SLICE: Final = 4096
"""Bytes that are looked at at once where members follow each other: what is left over is copied for each of them."""


_MAX_ENCODINGS: Final = 3
"""One upon the other."""
_MAX_WINDOW: Final = 8 * 1024 * 1024
"""Bytes that a decoder of zstd must hold (RFC 9659, 3)."""


class InflateError(Exception):
    """The body cannot be inflated: broken data, or one of the two below."""


class UnknownEncoding(InflateError):
    """The body has an encoding that is not known here."""


class InflatesTooFar(InflateError):
    """More would come of the body than is allowed."""


def inflated(body: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """A whole *body*, plain: *content_encoding* is the header's value, gzip, deflate and zstd are known. Raises
    InflateError."""
    named = _named(content_encoding)
    if len(named) > _MAX_ENCODINGS:
        raise UnknownEncoding(f"the body is encoded {len(named)} times")
    for encoding in reversed(named):
        if body:
            body = _zstd(body, max_bytes) if encoding == "zstd" else _zlib(body, encoding, max_bytes)
    return body


def _zlib(body: bytes, encoding: str, max_bytes: int) -> bytes:
    inflater = Inflater(encoding, max_bytes)
    plain = inflater.feed(body)
    if inflater.plain:
        raise InflateError("the compressed body is broken: it is not compressed")
    if not inflater.ended:
        raise InflateError("the compressed body is cut off")
    return plain


def _zstd(body: bytes, max_bytes: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    try:
        with decoder.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            plain: bytes = reader.read(max_bytes + 1)
    except zstandard.ZstdError as error:
        raise InflateError(f"the compressed body is broken: {error}") from None
    if len(plain) > max_bytes:
        raise _too_far(max_bytes)
    return plain


def _too_far(max_bytes: int) -> InflatesTooFar:
    return InflatesTooFar(f"the compressed body is larger than {max_bytes} bytes")


def _named(content_encoding: str) -> list[str]:
    """The encodings of a header's value, in the order in which they were applied."""
    return [word for part in content_encoding.split(",") if (word := part.strip().lower()) not in _MEANINGLESS]


class Inflater:
    """gzip and deflate, incremental. Anything else fails at the first byte: an upstream was asked for neither br nor
    zstd (``accept-encoding`` is removed from every request).

    gzip may have any number of members (RFC 1952, 2.2); ``deflate`` is zlib's format (RFC 9110, 8.4.1.2) or, as many
    servers send it, bare. What a body is, its first bytes say, as far as they do. *outer*: takes off what was laid over
    that encoding."""

    def __init__(self, encoding: str, max_bytes: int, outer: Inflater | None = None) -> None:
        self._outer = outer
        self._encoding = encoding
        self._max = max_bytes
        self._total = 0
        self._known = encoding in ("gzip", "x-gzip", "deflate")
        self._inflate: Any = None
        self.plain = False
        """It is not compressed, whatever its header says."""
        self._members = 1
        self._head = b""  # until it is told what it is

    @classmethod
    def for_encoding(cls, content_encoding: str, max_bytes: int) -> Inflater | None:
        """One for the value of a ``content-encoding`` header; ``None`` when the body is plain."""
        named = _named(content_encoding)
        if len(named) > _MAX_ENCODINGS:
            return cls(", ".join(named), max_bytes)  # not known, as one
        inflater: Inflater | None = None
        for encoding in reversed(named):
            inflater = cls(encoding, max_bytes, inflater)
        return inflater

    @property
    def ended(self) -> bool:
        """What came so far is whole."""
        return self.plain or (self._inflate is not None and self._inflate.eof)

    def feed(self, data: bytes) -> bytes:
        """The plain bytes that *data* completes. Raises InflateError."""
        if self._outer is not None:
            data = self._outer.feed(data)
        if not data:
            return b""
        if not self._known:
            raise UnknownEncoding(f"the body is compressed with {self._encoding!r}, not with gzip or deflate")
        try:
            return self._fed(data)
        except zlib.error as error:
            raise InflateError(f"the compressed body is broken: {error}") from None

    def _fed(self, data: bytes) -> bytes:
        if self.plain:
            return data
        if self._inflate is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b""
            self._head = b""
            self._inflate = self._read_as(data)
        if self._inflate is None:
            return data  # plain
        if not self._inflate.eof:
            plain = self._taken(data)
            if not self._inflate.eof:
                return plain
            data = self._inflate.unused_data
            return plain + self._more_members(data) if data else plain
        return self._more_members(data)

    def _read_as(self, data: bytes) -> Any:
        """A decoder for what *data* begins; ``None`` if that is an answer in plain sight: servers mistake the two
        forms for each other, and proxies that inflate a body forget to take its header away."""
        if data.startswith(_GZIP):
            self._encoding = "gzip"
            return zlib.decompressobj(31)
        if _has_zlib_header(data):
            self._encoding = "deflate"
            return zlib.decompressobj(15)
        self.plain = self._encoding != "deflate" and data.startswith(_ANSWERS)
        return None if self.plain else zlib.decompressobj(-15 if self._encoding == "deflate" else 31)

    def _more_members(self, data: bytes) -> bytes:
        """What follows a member that is whole: others, or zeros that fill up a block of a tape (RFC 1952 allows both
        in gzip's own program); nothing follows the end of deflate."""
        if self._encoding == "deflate":
            return b""
        parts: list[bytes] = []
        for start in range(0, len(data), _SLICE):
            rest = data[start : start + _SLICE]
            while rest:
                assert self._inflate is not None
                if self._inflate.eof:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    self._members += 1
                    if self._members > _MAX_MEMBERS:
                        raise InflateError(f"the compressed body has more than {_MAX_MEMBERS} parts")
                    self._inflate = zlib.decompressobj(31)
                parts.append(self._taken(rest))
                rest = self._inflate.unused_data if self._inflate.eof else b""
        return b"".join(parts)

    def _taken(self, data: bytes) -> bytes:
        assert self._inflate is not None
        # One more than may come, so that reaching the bound and passing it can be told apart.
        plain: bytes = self._inflate.decompress(data, self._max - self._total + 1)
        self._total += len(plain)
        if self._total > self._max:
            raise _too_far(self._max)
        return plain


def _has_zlib_header(data: bytes) -> bool:
    """RFC 1950, 2.2: method 8, and a check sum over the first two bytes."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
