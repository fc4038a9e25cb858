"""What a dialect must offer, and what every dialect's parser and emitter share.

A dialect is one wire API: it reads and writes requests, responses, streams and errors in that API's own words. It knows
no other dialect. Everything here is pure: no I/O, no clock; what is needed from outside arrives in a constructor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..capabilities import Capabilities
from ..framing import sse
from ..llm.events import (
    BlockEnded,
    KeepAlive,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    StopReason,
    TextDelta,
    ToolCallStarted,
    ToolInputDelta,
)
from ..llm.failures import STATUS_OF, ErrorKind, ProtocolError
from ..llm.fold import Folded
from ..llm.grammar import Grammar, State
from ..llm.losses import LossReport
from ..llm.request import Request
from ..llm.serial import Serializer
from ..settings import Limits
from .errors import read_error

Headers = list[tuple[str, str]]
"""Header names are lower-case; pseudo headers are never among them."""

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
"""Compact JSON, key order kept, non-ASCII as UTF-8."""


class ClientCall(Struct, frozen=True):
    """What the client sent."""

    method: str
    path: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of header *name*; several values are joined by commas, as HTTP allows."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


class Upstream(Struct, frozen=True):
    """Whom a request goes to. ``capabilities`` is the row of the model that is sent."""

    provider: str
    path: str
    capabilities: Capabilities = Capabilities()
    model: str = ""


class Undo(Struct, frozen=True):
    """What a request's emitter changed that the response's parser must change back."""

    names: dict[str, str] = field(default_factory=dict)
    """Tool names as sent -> as the client knows them."""
    custom: frozenset[str] = frozenset()
    """Free-form tools (by the client's name) that were sent as functions with one string member ``input``."""


class UpstreamCall(Struct, frozen=True):
    """What goes upstream. ``members`` are the body's top-level members in the order in which they are written."""

    method: str
    path: str
    headers: Headers
    members: dict[str, Any]
    request: Request
    undo: Undo = Undo()


class Meta(Struct, frozen=True):
    """What a response's headers say that clients of every dialect understand, each under its own header's name."""

    request_id: str | None = None
    retry_after: str | None = None
    retry_after_ms: str | None = None
    should_retry: str | None = None
    limits: dict[str, str] = field(default_factory=dict)
    """``requests-limit``, ``requests-remaining``, ``tokens-limit``, ``tokens-remaining`` -> the number as text."""
    resets: dict[str, float] = field(default_factory=dict)
    """``requests``, ``tokens`` -> Unix time at which the limit is whole again."""


class ResponseHead(Struct):
    """Status and headers of a response."""

    status: int
    headers: Headers = field(default_factory=list)

    def header(self, name: str) -> str:
        for key, value in self.headers:
            if key == name:
                return value
        return ""

    @property
    def media_type(self) -> str:
        """The content type without its parameters, lower-case; empty when there is none."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Env(Struct, frozen=True):
    """What comes from outside: the time in Unix seconds, and an id of this exchange."""

    now: float = 0.0
    request_id: str = ""


class ResponseParser(Protocol):
    """The upstream's bytes to events: streamed or whole, success or error. One per response."""

    def feed(self, data: bytes) -> list[ResponseEvent]: ...

    def end(self) -> list[ResponseEvent]:
        """The upstream has ended. Never raises; a broken response ends in ResponseFailed."""
        ...


class ResponseEmitter(Protocol):
    """Events to the client's bytes. One per response. ``head`` holds the status and the headers that this dialect sets:
    final at once when streamed, with the last byte when whole."""

    head: ResponseHead

    @property
    def failed(self) -> ResponseFailed | None:
        """A failure that no event told of, found in writing; the response is over."""
        ...

    def emit(self, event: ResponseEvent) -> bytes: ...


@runtime_checkable
class Dialect(Protocol):
    """One wire API. Stateless."""

    name: str
    paths: tuple[str, ...]
    """How the path of a client's request ends when it speaks this dialect (the query left off)."""
    root: str
    """A pattern: what stands before each of ``paths`` where the API is mounted at a host's root."""
    converses: bool
    """It holds conversations, which the vocabulary of ``llm`` can tell, streamed or whole. Others only pass through."""

    def claims(self, members: dict[str, Any]) -> bool:
        """Whether a body with these top-level members speaks this dialect. Asked only when the path says nothing."""
        ...

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        """Raises ProtocolError or Unsupported."""
        ...

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        """Raises Unsupported."""
        ...

    def mend(self, body: bytes, losses: LossReport) -> bytes:
        """A request that goes to an upstream of this same dialect: *body* itself, or without what an earlier turn's
        translation left in it and this API would refuse. Never raises."""
        ...

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> ResponseParser: ...

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> ResponseEmitter:
        """*upstream* is the head that the upstream answered, *meta* what it says (see ``read_meta``)."""
        ...

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        """What this dialect's response headers say."""
        ...

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        """An error response with nothing before it, in this dialect's own shape."""
        ...


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

    stream_types: tuple[str, ...] = ("text/event-stream",)
    error_kinds: dict[str, ErrorKind] = {}

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


class EmitterBase:
    """What every emitter shares. ``streamed``: the client asked for a stream and gets one. ``head_sent``: the head went
    out before the first event, so that an error can only be said in the stream."""

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(
        self, dialect: Dialect, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> None:
        self.dialect = dialect
        self.request = request
        self.meta = meta
        self.env = env
        self.losses = losses
        self.started: ResponseStarted | None = None
        self.head_sent = is_stream(upstream) and request.stream
        self.serial: Serializer | None = None
        """Set by a dialect whose stream knows one open block at a time."""
        self._folded = None if request.stream else Folded()
        content_type = self.stream_type if request.stream else "application/json"
        self.head = ResponseHead(upstream.status, [("content-type", content_type), *self.meta_headers(meta)])
        if request.stream:
            self.head.headers.append(("cache-control", "no-cache"))

    # ---- what a subclass says

    def meta_headers(self, meta: Meta) -> Headers:
        """The headers that say *meta* in this dialect."""
        return []

    def stream(self, event: ResponseEvent) -> bytes:
        """What *event* is in this dialect's stream; ResponseFailed comes only after the head has been sent."""
        raise NotImplementedError

    def whole(self, folded: Folded, ended: ResponseEnded) -> dict[str, Any]:
        """The whole response's body."""
        raise NotImplementedError

    # ---- what is shared

    @property
    def failed(self) -> ResponseFailed | None:
        """A failure that was found only in writing: the client has been told."""
        return self.serial.failed if self.serial is not None else None

    def emit(self, event: ResponseEvent) -> bytes:
        kind = type(event)
        if kind is ResponseFailed and not self.head_sent:
            # Nothing reached the client yet, whatever was made for it: it gets the error, with the error's status.
            self.head, body = self.dialect.emit_error(event, self.meta)  # type: ignore[arg-type]
            return body
        if kind is ResponseStarted:
            self.started = event  # type: ignore[assignment]
        folded = self._folded
        if folded is None:
            return self.stream(event)
        folded.add(event)
        return encode(self.whole(folded, event)) if kind is ResponseEnded else b""  # type: ignore[arg-type]


def is_stream(head: ResponseHead) -> bool:
    """Whether the upstream answers with a stream that can be passed on as it comes."""
    return head.status < 400 and head.media_type in ("text/event-stream", "application/vnd.amazon.eventstream")


def settled_stop(stop: StopReason, calls: bool) -> StopReason:
    """*stop*, made to agree with what the response holds: many servers say that they stopped when they called a tool,
    and some say that they called one when they did not. *calls*: it holds a call that the client shall run."""
    if calls and stop in (StopReason.END, StopReason.STOP_SEQUENCE, StopReason.OTHER):
        return StopReason.TOOL_CALL
    if not calls and stop is StopReason.TOOL_CALL:
        return StopReason.END
    return stop


def error_status(failed: ResponseFailed, overloaded: int) -> int:
    """The HTTP status to answer with; *overloaded* is what the client's API says for an overloaded provider."""
    status = failed.status if failed.status is not None and failed.status >= 400 else None
    if failed.kind is ErrorKind.OVERLOADED and status in (None, 503, 529):
        return overloaded
    if status is not None:
        return status
    return 502 if failed.kind is ErrorKind.API else STATUS_OF[failed.kind]
