"""A body's bytes as people can read them, and as they can be written again from that: a stream as its events."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

from ..framing import eventstream

EVENT_END = re.compile(r"\r?\n\r?\n")
"""Between two events of a stream."""
AWS = "aws-eventstream"
"""The framing that is shown as if it were server-sent events; what is shown of any other is what came."""

_EVENT_END = re.compile(EVENT_END.pattern.encode())
_TYPES = {":event-type": "event", ":exception-type": "exception", ":error-code": "error"}
_CHUNK = "chunk"
"""The one event of InvokeModel's streams, whose payload holds the model's own event in base64."""


class Readable(NamedTuple):
    """``ends`` are where, in the bytes, the events end that stand in ``text``."""

    text: str
    ends: list[int]
    framing: str = ""


def read(data: bytes) -> Readable:
    """*data*, which may be cut off anywhere."""
    if data[:1] == b"\0" and (framed := _framed(data)).ends:
        return framed
    return Readable(data.decode("utf-8", "replace"), [found.end() for found in _EVENT_END.finditer(data)])


def written(text: str, framing: str = "") -> bytes:
    """The bytes that *text* was read from, but for what padding they had."""
    if framing != AWS:
        return text.encode()
    made = bytearray()
    for event in events(text):
        name, _, payload = event.partition("\ndata: ")
        kind, _, named = name.partition(": ")
        payload = payload.replace("\ndata: ", "\n")
        header = next((header for header, shown in _TYPES.items() if shown == kind), ":event-type")
        message = {"event": "event", "exception": "exception"}.get(kind, "error")
        if named == _CHUNK:
            payload = msgspec.json.encode({"bytes": base64.b64encode(payload.encode()).decode()}).decode()
        headers = {header: named, ":content-type": "application/json", ":message-type": message}
        made += eventstream.encode(eventstream.encode_headers(headers), payload.encode())
    return bytes(made)


def events(text: str) -> list[str]:
    """The events of a stream's *text*, the last one as far as it is there."""
    found = EVENT_END.split(text)
    return found if found[-1] else found[:-1]


def _framed(data: bytes) -> Readable:
    decoder = eventstream.EventStreamDecoder()
    shown: list[str] = []
    ends: list[int] = []
    at = 0
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found = decoder.feed(data[at : at + size]) if size >= 16 else []
        if not found or not isinstance(message := found[0], eventstream.EventStreamMessage):
            break
        at += size
        shown.append(_event(message))
        ends.append(at)
    return Readable("".join(shown), ends, AWS)


def _event(message: eventstream.EventStreamMessage) -> str:
    header = next((name for name in _TYPES if name in message.headers), ":event-type")
    named = str(message.headers.get(header, ""))
    payload = message.payload
    if named == _CHUNK:
        payload = _inner(payload)
    data = payload.decode("utf-8", "replace").replace("\n", "\ndata: ")
    return f"{_TYPES[header]}: {named}\ndata: {data}\n\n"


def _inner(payload: bytes) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(payload)["bytes"], validate=True)
    except (msgspec.DecodeError, binascii.Error, LookupError, TypeError, ValueError):
        return payload
