"""Whose seals stand in an answer that passes. Several providers may speak one API, and none of them takes what another
sealed; a client keeps no word of who answered: the label goes with the seal (``llm.marker``), and comes off again in
the next request (the dialect's ``mend``). The seals of an API's own maker bear none."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...llm import marker
from ..base import encode
from . import event_bytes

_decode: Final = msgspec.json.Decoder().decode


class SealLabels:
    """Of one answer. *signer*: who gives it. ``feed`` and ``end`` for a stream, ``whole`` for any other body; what
    holds no seal keeps its bytes. A dialect says where seals stand."""

    needles: tuple[bytes, ...] = ()
    """One of them stands in whatever holds a seal."""

    def __init__(self, signer: str, max_event_bytes: int) -> None:
        self._signer = signer
        self._events = event_bytes.WholeEvents(max_event_bytes)

    def in_event(self, message: dict[str, Any]) -> bool:
        """Whether anything in *message*, of a stream, got a label; it is changed in place."""
        raise NotImplementedError

    def in_whole(self, message: dict[str, Any]) -> bool:
        """The same of a whole answer."""
        raise NotImplementedError

    def label(self, members: dict[str, Any], name: str, *, encrypts: bool) -> bool:
        """Whether the member *name* got a label. *encrypts*: it is the thinking itself, not a signature over it."""
        value = members.get(name)
        if type(value) is not str or not value or marker.is_mark(value):
            return False
        seal = marker.Seal(self._signer, encrypted=value) if encrypts else marker.Seal(self._signer, value)
        members[name] = marker.sealed(seal)
        return True

    def feed(self, chunk: bytes) -> bytes:
        complete = self._events.feed(chunk)
        if not self._matters(complete):
            return complete
        return b"".join([(self._event(event) if end else event) + end for event, end in event_bytes.split(complete)])

    def end(self) -> bytes:
        return self._events.end()

    def whole(self, body: bytes) -> bytes:
        if not self._matters(body):
            return body
        try:
            message = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body
        return encode(message) if type(message) is dict and self.in_whole(message) else body

    def _event(self, event: bytes) -> bytes:
        message = event_bytes.message(event) if self._matters(event) else None
        if message is None or not self.in_event(message):
            return event
        return event_bytes.with_message(event, encode(message))

    def _matters(self, data: bytes) -> bool:
        return any(needle in data for needle in self.needles)
