"""What parsers share: how JSON is read, and the base of all that read responses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from ...framing import sse
from ...llm import marker
from ...llm.events import (
    BlockEnded,
    KeepAlive,
    ResponseEvent,
    ResponseFailed,
    TextDelta,
    ToolCallStarted,
    ToolInputDelta,
)
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.grammar import Grammar, State
from ...llm.losses import LossReport
from ...llm.weight import is_heavier
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from .errors import read_error

TOO_MANY = "holds more values than can be handled at once"

_decode = msgspec.json.Decoder().decode


def decode(data: bytes, path: str) -> Any:
    """*data* as JSON. Raises ProtocolError. What is no Unicode, bytes or half a surrogate pair, becomes U+FFFD rather
    than fail: servers cut texts where they like."""
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        whole = _LONE_SURROGATE.sub(rb"\\ufffd", data)
        if whole != data:
            return decode(whole, path)
        problem = f"not JSON: {error}"
    except UnicodeDecodeError:
        return decode(data.decode("utf-8", "replace").encode(), path)
    except RecursionError:
        problem = "nested too deep"
    raise ProtocolError(path, problem)


# Escapes of a high half without its low one, and of a low half without its high one.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


class ParserBase:
    """What every parser shares: streamed, whole or error; framing; the grammar; undoing; ending exactly once.

    A subclass says what one message of its stream means (``on_message``), what a whole body means (``on_whole``), and
    which kinds its error types stand for (``error_kinds``).
    """

    stream_types: ClassVar[tuple[str, ...]] = ("text/event-stream",)
    error_kinds: ClassVar[dict[str, ErrorKind]] = {}

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        self.call = call
        self.head = head
        self.losses = losses
        self.grammar = Grammar(limits.max_open_blocks)
        self._limits = limits
        self._body = bytearray()
        self._broken_messages = 0
        self._custom: dict[int, list[str]] = {}  # block -> input of a free-form tool, so far wrapped in JSON
        self.streamed = head.status < 400 and head.media_type in self.stream_types
        self._framing = self.make_framing(limits)

    # ---- what a subclass says

    def make_framing(self, limits: Limits) -> Any:
        """A decoder with ``feed`` and ``end`` that cuts the stream into items for ``on_item``."""
        return sse.SseDecoder(limits.max_event_bytes)

    def on_item(self, item: Any, *, last: bool) -> Iterator[ResponseEvent]:
        """One item of the framing; *last* when the stream's end left it unfinished."""
        if item is sse.COMMENT:
            yield KeepAlive()
        elif item.data.startswith(b"[DONE]"):
            yield from self.on_done()
        elif item.data.strip():
            message = self.decode_message(item.data, last=last)
            if message is not None:
                yield from self.on_message(message)

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        """One message of the stream, decoded."""
        raise NotImplementedError

    def on_done(self) -> Iterator[ResponseEvent]:
        """The stream's explicit end mark, where the dialect has one."""
        return self.on_close()

    def on_close(self) -> Iterator[ResponseEvent]:
        """The upstream closed cleanly, and the response had not ended."""
        yield self.failure("upstream stream ended prematurely", code="stream_truncated")

    def decode_whole(self, body: bytes) -> Any:
        """A whole body as ``on_whole`` wants it. Raises ProtocolError."""
        return decode(body, "body")

    def on_whole(self, body: Any) -> Iterator[ResponseEvent]:
        """A whole body, decoded."""
        raise NotImplementedError

    # ---- what is shared

    def feed(self, data: bytes) -> list[ResponseEvent]:
        if not self.streamed:
            return self._collect(data)
        try:
            items = self._framing.feed(data)
        except sse.EventTooLarge as error:
            return self._checked([*(self.on_item(item, last=False) for item in error.before), self._raise(error)])
        return self._checked([self.on_item(item, last=False) for item in items])

    def end(self) -> list[ResponseEvent]:
        if self.grammar.state is State.ENDED:
            return []
        if not self.streamed:
            body = bytes(self._body)
            if self.head.status >= 400 or not body.lstrip()[:6].startswith((b"data:", b"event:")):
                return self._checked([self._on_body(body)])
            # A stream whose server forgot to say so.
            self.streamed = True
            return self.feed(body) + self.end()
        items = self._framing.end()
        return self._checked([*(self.on_item(item, last=True) for item in items), self.on_close()])

    def decode_message(self, data: bytes, *, last: bool) -> Any:
        """A stream's message; ``None`` for the first that is not JSON, and for an unfinished last one."""
        if is_heavier(data, self._limits.max_decoded_bytes):
            raise ProtocolError("event", TOO_MANY)
        try:
            return decode(data, "event")
        except ProtocolError:
            if last:
                return None
            self._broken_messages += 1
            if self._broken_messages > 1:
                raise
            self.losses.dropped("response.event", "an event that is not JSON")
            return None

    def failure(
        self,
        message: str,
        kind: ErrorKind = ErrorKind.API,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> ResponseFailed:
        return ResponseFailed(kind, message, status, code, param)

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        """What an error object means, however the server spells it. *status* is ``None`` within a stream."""
        return read_error(error, status, self.error_kinds)

    def close_blocks(self) -> Iterator[ResponseEvent]:
        """End every open block, in the order of their starts."""
        for block in list(self.grammar.open):
            yield BlockEnded(block)

    def _collect(self, data: bytes) -> list[ResponseEvent]:
        self._body += data
        if len(self._body) <= self._limits.max_response_bytes or self.grammar.state is State.ENDED:
            return []
        self._body.clear()
        message = f"the upstream's answer is larger than {self._limits.max_response_bytes} bytes"
        return self._checked([iter([self.failure(message, status=502, code="upstream_error")])])

    def _on_body(self, body: bytes) -> Iterator[ResponseEvent]:
        status, media_type = self.head.status, self.head.media_type
        if is_heavier(body, self._limits.max_decoded_bytes):
            yield self.failure(f"the upstream's answer {TOO_MANY}", status=502, code="upstream_error")
            return
        try:
            decoded = self.decode_whole(body)
        except ProtocolError:
            yield _not_json(body, status, media_type)
            return
        if status >= 400 or (type(decoded) is dict and self.is_error(decoded)):
            yield self.failure_of(decoded, status)
        elif type(decoded) is not dict:
            yield self.failure("the upstream's answer is not a JSON object", status=502, code="upstream_error")
        else:
            yield from self.on_whole(decoded)

    def is_error(self, body: dict[str, Any]) -> bool:
        """Whether a body that came with a success status is an error all the same."""
        return bool(body.get("error")) or body.get("type") == "error"

    def _raise(self, error: Exception) -> Iterator[ResponseEvent]:
        raise ProtocolError("", str(error))
        yield  # pragma: no cover - makes this a generator, so that _checked sees the error in its turn

    def _checked(self, series: Iterable[Iterator[ResponseEvent]]) -> list[ResponseEvent]:
        """The events, each allowed by the grammar; what breaks it ends the response as failed."""
        events: list[ResponseEvent] = []
        for produced in series:
            try:
                for event in produced:
                    if self.grammar.state is State.ENDED:
                        return events
                    if type(event) is TextDelta:
                        # By far the most events: nothing in them is ever undone.
                        events.append(self.grammar.check(event))
                        continue
                    events += [self.grammar.check(e) for e in self._undone(event)]
            except ProtocolError as error:
                if self.grammar.state is not State.ENDED:
                    message = f"the upstream broke its protocol: {error}"
                    events.append(self.grammar.check(self.failure(message, status=502, code="upstream_error")))
        return events

    def _undone(self, event: ResponseEvent) -> Iterable[ResponseEvent]:
        """Tool names as the client knows them; free-form tools out of the function that carried them."""
        undo = self.call.undo
        if type(event) is ToolCallStarted:
            if marker.IN_ID in event.id:
                # Another gateway of this kind sealed it there.
                id_, signature = marker.unsealed_id(event.id)
                event = replace(event, id=id_, signature=event.signature or signature)
            name = undo.names.get(event.name, event.name)
            if name in undo.custom and event.kind == "function":
                self._custom[event.block] = []
                return (replace(event, name=name, kind="custom"),)
            return (event,) if name is event.name else (replace(event, name=name),)
        if self._custom:
            if type(event) is ToolInputDelta and event.block in self._custom:
                self._custom[event.block].append(event.fragment)
                return ()
            if type(event) is BlockEnded and event.block in self._custom:
                text = _unwrapped("".join(self._custom.pop(event.block)))
                return (ToolInputDelta(event.block, text), event) if text else (event,)
        return (event,)


def _unwrapped(wrapped: str) -> str:
    """The text inside ``{"input": text}``; anything else as it came."""
    try:
        value = _decode(wrapped)
    except (msgspec.DecodeError, RecursionError):
        return wrapped
    text = value.get("input") if type(value) is dict else None
    return text if type(text) is str else wrapped


def _not_json(body: bytes, status: int, media_type: str) -> ResponseFailed:
    """An answer that is no JSON: an HTML page of a proxy, plain text, or nothing at all."""
    message = f"upstream returned HTTP {status} ({media_type or 'no content type'})"
    text = body[:2048].decode("utf-8", "replace").strip()[:512]
    if text and media_type == "text/plain":
        message += f": {text}"
    return read_error({"message": message}, status, {}, code="upstream_error")
