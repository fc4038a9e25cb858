"""A body's bytes as people can read them, and as they can be written again from that: a stream as its events."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

from ..framing import eventstream, jsonarray

EVENT_END = re.compile(r"\r?\n\r?\n")
"""Between two events of a stream."""
AWS = "aws-eventstream"
ARRAY, OPEN_ARRAY = "json-array", "json-array-open"
"""A stream of Google's that is one array, and one whose end has not come. These framings are shown as if they were
server-sent events; what is shown of any other is what came."""

_EVENT_END = re.compile(EVENT_END.pattern.encode())
_TYPES = {":event-type": "event", ":exception-type": "exception", ":error-code": "error"}
_CHUNK = "chunk"
"""The one event of InvokeModel's streams, whose payload holds the model's own event in base64."""


class Readable(NamedTuple):
    """``ends`` are where, in the bytes, the events end that stand in ``text``."""

    text: str
    ends: list[int]
    framing: str = ""


def read(data: bytes, *, streamed: bool = True) -> Readable:
    """*data*, which may be cut off anywhere. An array that is not *streamed* is JSON as any other."""
    if data[:1] == b"\0" and (framed := _framed(data)).ends:
        return framed
    if streamed and data[:1] == b"[" and (listed := _listed(data)).ends:
        return listed
    return Readable(data.decode("utf-8", "replace"), [found.end() for found in _EVENT_END.finditer(data)])


def written(text: str, framing: str = "") -> bytes:
    """The bytes that *text* was read from, but for what padding they had."""
    if framing in (ARRAY, OPEN_ARRAY):
        elements = ",\n".join(event.removeprefix("data: ") for event in events(text))
        return f"[{elements}{']' if framing == ARRAY else ''}".encode()
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


def _listed(data: bytes) -> Readable:
    """The objects of an array, a line each."""
    decoder = jsonarray.JsonArrayDecoder(len(data))
    shown: list[str] = []
    ends: list[int] = []
    at = 0
    for element in decoder.feed(data):
        at = data.index(element, at) + len(element)
        shown.append(f"data: {_line(element)}\n\n")
        ends.append(at)
    shown += [f"data: {_line(rest)}" for rest in decoder.end()]
    return Readable("".join(shown), ends, ARRAY if decoder.closed else OPEN_ARRAY)


def _line(element: bytes) -> str:
    """JSON on one line, as far as it is there: a line's end within it is never a part of a text."""
    try:
        return msgspec.json.format(element, indent=-1).decode("utf-8", "replace")
    except (msgspec.DecodeError, RecursionError):
        return " ".join(element.decode("utf-8", "replace").split("\n"))


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
