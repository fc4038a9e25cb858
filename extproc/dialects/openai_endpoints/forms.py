"""Where a field stands in a form (``multipart/form-data``, RFC 7578): found without taking the form apart."""

from __future__ import annotations

import re
from typing import Final

from ...llm.failures import ProtocolError

MAX_PARTS: Final = 4096
MAX_PART_HEAD: Final = 16 * 1024
"""Bytes of the headers of one part."""

_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME: Final = re.compile(
    rb'^content-disposition:[^\r\n]*?;[ \t]*name=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE | re.MULTILINE
)


def boundary(content_type: str) -> bytes | None:
    """The boundary of a form with this content type; ``None`` for what is no form."""
    if not content_type.lower().lstrip().startswith("multipart/form-data"):
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode("latin-1", "replace") if found is not None else None


def find(body: bytes, mark: bytes, name: bytes) -> tuple[int, int] | None:
    """Where the value of the first field *name* begins and ends; ``None`` without one. In linear time. Raises
    ProtocolError."""
    delimiter = b"--" + mark
    at = 0 if body.startswith(delimiter) else _next(body, delimiter, 0)
    for _ in range(MAX_PARTS):
        at += len(delimiter)
        if body.startswith(b"--", at):
            return None
        head = body.find(b"\r\n\r\n", at)
        if head < 0 or head - at > MAX_PART_HEAD:
            raise ProtocolError("body", "a part of the form has no end of its headers")
        start = head + 4
        # The value of a part without one may begin with the line break that belongs to the delimiter.
        end = _next(body, delimiter, head + 2) - 2
        found = _NAME.search(body, at, head)
        if found is not None and (found[1] if found[1] is not None else found[2]) == name:
            return min(start, end), end
        at = end + 2
    raise ProtocolError("body", f"the form has more than {MAX_PARTS} parts")


def _next(body: bytes, delimiter: bytes, start: int) -> int:
    """Where the next *delimiter* stands that begins a line."""
    found = body.find(b"\r\n" + delimiter, start)
    if found < 0:
        raise ProtocolError("body", "the form does not end with its boundary")
    return found + 2


def field(mark: bytes, name: bytes, value: bytes) -> bytes:
    """A part of a form, with the delimiter before it."""
    return b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (mark, name, value)
