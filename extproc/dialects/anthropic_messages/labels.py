"""Whose signatures stand in an answer that passes: the Messages API is spoken by several makers, and none of them takes
what another one signed. A client keeps no word of who answered, so that the label goes with the signature (``marker``),
and comes off again in the next request (``mend``). Claude's own bear none."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...llm import marker
from ..base import encode

SEALS = {"thinking": "signature", "redacted_thinking": "data"}
"""Of each kind of block, the member that only its maker can read."""
_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_LINE = re.compile(rb"\r\n|\n|\r")
_NEEDLES = (b"signature", b"redacted_thinking")

_decode = msgspec.json.Decoder().decode


class SignatureLabels:
    """Of one answer. *signer*: who gives it. ``feed`` and ``end`` for a stream, ``whole`` for any other body; what
    holds no signature keeps its bytes."""

    def __init__(self, signer: str, max_event_bytes: int) -> None:
        self._signer = signer
        self._max = max_event_bytes
        self._begun = b""
        self._labelled: set[Any] = set()  # the blocks that have their label: a signature may come in pieces

    def feed(self, chunk: bytes) -> bytes:
        data = self._begun + chunk
        # A mark of the end can be cut in two as well.
        ends = [found.end() for found in _END_OF_EVENT.finditer(data, max(0, len(self._begun) - 3))]
        complete, self._begun = (data[: ends[-1]], data[ends[-1] :]) if ends else (b"", data)
        if len(self._begun) > self._max:
            complete, self._begun = complete + self._begun, b""
        return self._events(complete) if _matters(complete) else complete

    def end(self) -> bytes:
        left, self._begun = self._begun, b""
        return left

    def whole(self, body: bytes) -> bytes:
        if not _matters(body):
            return body
        try:
            message = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body
        return encode(message) if type(message) is dict and self._blocks(message.get("content")) else body

    def _events(self, data: bytes) -> bytes:
        out, start = [], 0
        for found in _END_OF_EVENT.finditer(data):
            out.append(self._event(data[start : found.start()]) + found.group())
            start = found.end()
        return b"".join(out) + data[start:]

    def _event(self, event: bytes) -> bytes:
        if not _matters(event):
            return event
        lines = _LINE.split(event)
        try:
            message = _decode(b"\n".join([line[5:] for line in lines if line.startswith(b"data:")]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return event
        if type(message) is not dict or not self._message(message):
            return event
        return b"\n".join([*(line for line in lines if not line.startswith(b"data:")), b"data: " + encode(message)])

    def _message(self, message: dict[str, Any]) -> bool:
        """Whether anything in *message* got a label; it is changed in place."""
        kind, index = message.get("type"), message.get("index")
        if kind == "content_block_start":
            self._labelled.discard(index)
            labelled = self._block(message.get("content_block"))
            if labelled:
                self._labelled.add(index)
            return labelled
        if kind == "content_block_delta":
            delta = message.get("delta")
            if type(delta) is not dict or delta.get("type") != "signature_delta" or index in self._labelled:
                return False
            self._labelled.add(index)
            return self._label(delta, "signature")
        started = message.get("message")
        return self._blocks((started if type(started) is dict else message).get("content"))

    def _blocks(self, content: Any) -> bool:
        labelled = False
        for block in content if type(content) is list else ():
            labelled = self._block(block) or labelled
        return labelled

    def _block(self, block: Any) -> bool:
        if type(block) is not dict or type(kind := block.get("type")) is not str or kind not in SEALS:
            return False
        return self._label(block, SEALS[kind])

    def _label(self, members: dict[str, Any], name: str) -> bool:
        value = members.get(name)
        if type(value) is not str or not value or marker.is_mark(value):
            return False
        seal = marker.Seal(self._signer, value) if name == "signature" else marker.Seal(self._signer, encrypted=value)
        members[name] = marker.sealed(seal)
        return True


def _matters(data: bytes) -> bool:
    return any(needle in data for needle in _NEEDLES)
