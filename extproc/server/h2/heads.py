"""Header blocks: decoding and judging a request's (RFC 9113, section 8), writing a response's.

Our SETTINGS_HEADER_TABLE_SIZE is 0. Once the peer has acknowledged that and emptied its table, a block means the same
wherever it stands, so its bytes are a key: Envoy repeats one block for all streams of a route, and from the second on
it costs a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError

from ...frozen import Frozen
from .frames import Code, ConnectionFault
from .limits import Counters

FIELD_NAME: Final = re.compile(rb"[^\x00-\x20:A-Z\x7f-\xff]+")
FIELD_VALUE: Final = re.compile(rb"(?![ \t])[^\x00\r\n]*(?<![ \t])")
DIGITS: Final = re.compile(rb"[0-9]{1,18}")

PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)

CACHED_BLOCKS: Final = 256
CACHED_BLOCK_BYTES: Final = 1024


class Head(Frozen):
    """One decoded header block. ``fault`` is empty unless the request is malformed; then nothing else counts."""

    method: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Without pseudo headers, names in lower case, in the order they came; values byte for byte as Latin-1."""

    content_length: int | None = None
    list_bytes: int = 0
    fault: str = ""

    def get(self, name: str) -> str:
        """The first value of a header, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")


def judged(fields: Iterable[tuple[bytes, bytes]], *, trailers: bool = False) -> Head:
    """The head that decoded fields make; its ``fault`` says what is wrong with them (8.1.1: a stream error)."""
    pseudo: dict[bytes, str] = {}
    headers: list[tuple[str, str]] = []
    size = 0
    fault = ""
    length: int | None = None
    for name, value in fields:
        size += len(name) + len(value) + 32
        if not FIELD_VALUE.fullmatch(value):
            fault = fault or "a header value with forbidden characters"
        elif name[:1] == b":":
            if trailers or headers or name not in PSEUDO or name in pseudo:
                fault = fault or "a pseudo header that may not stand there"
            pseudo[name] = value.decode("latin-1")
        elif not FIELD_NAME.fullmatch(name):
            fault = fault or "a header name with forbidden characters"
        elif name in CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
            fault = fault or "a header of HTTP/1 connections"
        elif name == b"content-length" and (not DIGITS.fullmatch(value) or length not in (None, int(value))):
            fault = fault or "a wrong content-length"
        else:
            if name == b"content-length":
                length = int(value)
            headers.append((name.decode("ascii"), value.decode("latin-1")))
    if not trailers and not fault:
        fault = incomplete(pseudo)
    return Head(pseudo.get(b":method", ""), pseudo.get(b":path", ""), tuple(headers), length, size, fault)


def incomplete(pseudo: dict[bytes, str]) -> str:
    """What a request's pseudo headers lack (8.3.1, 8.5 for CONNECT)."""
    wanted = {b":method", b":authority"} if pseudo.get(b":method") == "CONNECT" else {b":method", b":scheme", b":path"}
    if not all(pseudo.get(name) for name in wanted) or (b":path" not in wanted and len(pseudo) > 2):
        return "a request without the pseudo headers that it needs"
    return ""


class HeadReader:
    """Decodes the header blocks of one connection, in the order in which they came."""

    def __init__(self, max_list_bytes: int, cache: dict[bytes, Head], counters: Counters) -> None:
        """``cache`` may be shared between connections: only blocks without state enter it."""
        self._decoder = Decoder(max_header_list_size=4 * max_list_bytes)
        self._cache = cache
        self._counters = counters
        self._stateless = False

    def table_acknowledged(self) -> None:
        """The peer acknowledged that our table has no room: the next block must begin by emptying it (4.3.1)."""
        self._decoder.max_allowed_table_size = 0

    def read(self, block: bytes) -> Head:
        """Decode a request's block. Raises ConnectionFault when it cannot be decoded."""
        if self._stateless:
            found = self._cache.get(block)
            if found is not None:
                self._counters.header_cache_hits += 1
                return found
        result = judged(self._decode(block))
        if self._stateless and len(block) <= CACHED_BLOCK_BYTES:
            if len(self._cache) >= CACHED_BLOCKS:
                self._cache.clear()
            self._cache[block] = result
        return result

    def read_trailers(self, block: bytes) -> Head:
        """Decode a block of trailers. Raises ConnectionFault when it cannot be decoded."""
        return judged(self._decode(block), trailers=True)

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        try:
            fields: list[tuple[bytes, bytes]] = list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            self._counters.met("max_header_list_bytes")
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header list far beyond the limit") from None
        # The library means to raise its own errors only; a block that makes it stumble is still the peer's fault.
        # Its texts are not passed on: some name addresses in our memory.
        except (HPACKError, IndexError, ValueError):
            raise ConnectionFault(Code.COMPRESSION_ERROR, "a header block that cannot be decoded") from None
        self._stateless = self._decoder.max_allowed_table_size == 0
        return fields


def block(*fields: tuple[str, str]) -> bytes:
    """A header block of literals that no table remembers; ``:status`` 200 is the static table's entry 8."""
    out = bytearray()
    for name, value in fields:
        if (name, value) == (":status", "200"):
            out.append(0x88)
            continue
        out.append(0)
        for text in (name.encode("ascii"), value.encode("latin-1")):
            out += integer(len(text))
            out += text
    return bytes(out)


def integer(value: int) -> bytes:
    """A length with a seven-bit prefix (RFC 7541, section 5.1), no Huffman coding."""
    if value < 127:
        return bytes((value,))
    out = bytearray((127,))
    value -= 127
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


EMPTY_TABLE: Final = b"\x20"
"""Dynamic table size update to 0 (RFC 7541, section 6.3): due in the first block after the peer set its size."""
