"""Inflating compressed bodies as they arrive, within a bound."""

from __future__ import annotations

import zlib


class InflateError(Exception):
    """The body cannot be inflated: an encoding that is not known here, broken data, or too much of it."""


class Inflater:
    """gzip and deflate, incremental. Anything else fails at the first byte: br and zstd would need a library that the
    upstream was asked not to make necessary (``accept-encoding`` is removed from every request)."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding
        self._max = max_bytes
        self._total = 0
        # 47: a gzip or zlib header, whichever comes.
        self._inflate = zlib.decompressobj(47) if encoding in ("gzip", "x-gzip", "deflate") else None

    @classmethod
    def for_encoding(cls, content_encoding: str, max_bytes: int) -> Inflater | None:
        """One for the value of a ``content-encoding`` header; ``None`` when the body is plain."""
        encoding = content_encoding.strip().lower()
        return None if encoding in ("", "identity") else cls(encoding, max_bytes)

    def feed(self, data: bytes) -> bytes:
        """The plain bytes that *data* completes. Raises InflateError."""
        if not data:
            return b""
        if self._inflate is None:
            raise InflateError(f"the upstream's answer is compressed with {self._encoding!r}, not with gzip or deflate")
        try:
            # One more than may come, so that reaching the bound and passing it can be told apart.
            plain = self._inflate.decompress(data, self._max - self._total + 1)
        except zlib.error as error:
            raise InflateError(f"the upstream's compressed answer is broken: {error}") from None
        self._total += len(plain)
        if self._total > self._max:
            raise InflateError(f"the upstream's compressed answer is larger than {self._max} bytes")
        return plain
