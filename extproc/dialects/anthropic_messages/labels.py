"""Whose signatures stand in an answer that passes: the Messages API is spoken by several makers, and none of them takes
what another one signed. A client keeps no word of who answered, so that the label goes with the signature (``marker``),
and comes off again in the next request (``mend``). Claude's own bear none."""

from __future__ import annotations

from typing import Any

import msgspec

from ...llm import marker
from ..base import encode
from ..shared import event_bytes

SEALS = {"thinking": "signature", "redacted_thinking": "data"}
"""Of each kind of block, the member that only its maker can read."""
_NEEDLES = (b"signature", b"redacted_thinking")

_decode = msgspec.json.Decoder().decode


class SignatureLabels:
    """Of one answer. *signer*: who gives it. ``feed`` and ``end`` for a stream, ``whole`` for any other body; what
    holds no signature keeps its bytes."""

    def __init__(self, signer: str, max_event_bytes: int) -> None:
        self._signer = signer
        self._events = event_bytes.WholeEvents(max_event_bytes)
        self._labelled: set[Any] = set()  # the blocks that have their label: a signature may come in pieces

    def feed(self, chunk: bytes) -> bytes:
        complete = self._events.feed(chunk)
        if not _matters(complete):
            return complete
        return b"".join([(self._event(event) if end else event) + end for event, end in event_bytes.split(complete)])

    def end(self) -> bytes:
        return self._events.end()

    def whole(self, body: bytes) -> bytes:
        if not _matters(body):
            return body
        try:
            message = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body
        return encode(message) if type(message) is dict and self._blocks(message.get("content")) else body

    def _event(self, event: bytes) -> bytes:
        message = event_bytes.message(event) if _matters(event) else None
        if message is None or not self._message(message):
            return event
        return event_bytes.with_message(event, encode(message))

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
