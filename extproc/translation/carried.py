"""Large media of a request, carried from the client's body to the upstream's as the bytes that they are.

An image of twenty megabytes is a string that no dialect looks into, beyond its first bytes. Its middle is taken out of
the body before that is read, a mark stands in for it, and it is put back into the body that was written. Beginning and
end stay, so that type and padding are told by the same characters; what is left is no text either, and longer than any
string that an API bounds.

Only what would arrive unchanged is taken out: see ``found``. Whether it arrived shows when it is put back: if it did
not, or not once, the body is to be read whole.
"""

from __future__ import annotations

import base64
import re
from secrets import token_hex
from typing import Final

from ..dialects.base import top_level
from ..llm.failures import ProtocolError

STRETCH: Final = 32 * 1024
"""Every string of twice as many bytes is met by looking at one place in so many."""
_HEAD, _TAIL = 1024, 4
"""Characters of the data that stay. In the head it must show that they are no text: a file that is declared as text is
decoded."""
_DIGITS: Final = 8
"""Of a number, behind the mark."""

_PURE: Final = re.compile(rb"[A-Za-z0-9+/]{64}")
_MEMBER: Final = re.compile(rb'"(?:data|url|image_url|file_data|bytes)"[ \t\r\n]*:[ \t\r\n]*"\Z')
"""Before the data, or the data: URL: members of the dialects' images and documents."""
_BEFORE: Final = 64
_URL: Final = re.compile(rb"[dD][aA][tT][aA]:[^,\"\\]{0,128};base64,")
_MEDIA = (b"/9j/", b"iVBORw", b"R0lGO", b"UklGR", b"JVBER", b"SUQz", b"//", b"T2dnUw", b"ZkxhQ", b"AAAA", b"GkXfo")
"""How JPEG, PNG, GIF, WebP and WAV, PDF, MP3 (two ways), Ogg, FLAC, MP4 and WebM begin in base64."""
_ALTERED = (b"\\", b" ", b"-", b"_", b"%")
"""Bytes for which data are not carried as they are: escapes of JSON, among them those of line ends, spaces, the other
alphabet of base64, escapes of URLs."""
_CACHED: Final = 128 * 1024
"""Bytes that are looked through at a time: they stay in the processor's cache for the next byte to look for."""


class UnreadMedia:
    """What was taken out of one body."""

    __slots__ = ("_mark", "_spans", "body", "whole")

    def __init__(self, whole: bytes, spans: list[tuple[int, int]]) -> None:
        """*spans*: what to take out of *whole*, in order."""
        self.whole = whole
        """The body that they were taken out of."""
        self._spans = spans
        # Nobody who writes a body can know it, in no form: not as escapes, and not within base64. Nothing that is made
        # depends on it. It is base64 itself, and no UTF-8.
        self._mark = b"////" + token_hex(8).encode()
        view = memoryview(whole)
        parts: list[bytes | memoryview] = []
        at = 0
        for number, (start, end) in enumerate(spans):
            parts += (view[at:start], b"%s%08d" % (self._mark, number))
            at = end
        parts.append(view[at:])
        self.body = b"".join(parts)
        """The body without them."""

    @property
    def size(self) -> int:
        """Bytes that were taken out, about."""
        return len(self.whole) - len(self.body)

    def shows_in(self, text: bytes) -> bool:
        """Whether a part of what was taken out is missing in *text*, which was made of ``body``."""
        return self._mark in text

    def put_back(self, made: bytes) -> bytes | None:
        """*made* of ``body``, with what was taken out of it. ``None`` unless each part has its one place there: what is
        not there may have been left out, or stand there in another form, as base64 of base64."""
        if made is self.body:
            return self.whole
        whole, view = memoryview(self.whole), memoryview(made)
        missing = set(range(len(self._spans)))
        parts: list[memoryview] = []
        at = 0
        place = made.find(self._mark)
        while place >= 0:
            digits = place + len(self._mark)
            named = made[digits : digits + _DIGITS]
            number = int(named) if len(named) == _DIGITS and named.isdigit() else -1
            if number not in missing:
                return None
            missing.remove(number)
            start, end = self._spans[number]
            parts += (view[at:place], whole[start:end])
            at = digits + _DIGITS
            place = made.find(self._mark, at)
        if missing:
            return None
        parts.append(view[at:])
        return b"".join(parts)


def is_json(body: bytes) -> bool:
    """Whether *body* is an object of JSON. All of it is looked through for what may not stand in a string."""
    try:
        top_level(body)
    except ProtocolError:
        return False
    return True


def found(body: bytes) -> UnreadMedia | None:
    """What can be carried of *body* if that ``is_json``; ``None`` if there is nothing.

    Each is base64 of an image, a PDF, audio or video, by its first bytes, and of no text, in a member of media, in the
    standard alphabet and with its padding, without spaces and escapes: no dialect changes any of it.
    """
    spans = _spans(body) if len(body) > 2 * STRETCH else []
    return UnreadMedia(body, spans) if spans else None


def _spans(body: bytes) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    # All of it is looked through once for that, if there is anything to be carried.
    is_ascii: bool | None = None
    at, size, done = STRETCH, len(body), 0
    while at < size:
        if not _PURE.match(body, at):
            at += STRETCH
            continue
        end = body.find(b'"', at)
        if end < 0:
            # A string that does not end: no JSON, and all of it would be looked through at each step.
            break
        quote = body.rfind(b'"', done, at)
        if quote >= 0 and (first := _data(body, quote, end)):
            if is_ascii is None:
                is_ascii = body.isascii()
            if is_ascii or body[first:end].isascii():
                spans.append((first + _HEAD, end - _TAIL))
        done = end + 1
        at = end + STRETCH
    return spans


def _data(body: bytes, quote: int, end: int) -> int:
    """Where the data begin in the string that *quote* opens and *end* closes, if they can be carried; else 0."""
    if not _MEMBER.search(body, max(0, quote - _BEFORE), quote + 1):
        return 0
    url = _URL.match(body, quote + 1)
    start = url.end() if url else quote + 1
    if (end - start) % 4 or end - start < STRETCH or not body.startswith(_MEDIA, start, end):
        return 0
    if _may_be_text(body[start : start + _HEAD]):
        return 0
    for at in range(start, end, _CACHED):
        for byte in _ALTERED:
            if body.find(byte, at, min(at + _CACHED, end)) >= 0:
                return 0
        if body.find(b"=", at, min(at + _CACHED, end - 2)) >= 0:
            return 0
    return start


def _may_be_text(data: bytes) -> bool:
    """Whether base64 that begins with *data* may hold a text."""
    try:
        head = base64.b64decode(data)
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        return error.start > len(head) - 4
    except ValueError:
        pass
    return True
