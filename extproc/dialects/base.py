"""What a dialect must offer, and what every dialect's parser and emitter share.

A dialect is one wire API: it reads and writes requests, responses, streams and errors in that API's own words. It knows
no other dialect. Everything here is pure: no I/O, no clock; what is needed from outside arrives in a constructor.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from ..capabilities import Capabilities
from ..frozen import Frozen
from ..llm.events import ResponseEvent, ResponseFailed
from ..llm.losses import LossReport
from ..llm.request import Request
from ..settings import Limits

Headers = list[tuple[str, str]]
"""Header names are lower-case; pseudo headers are never among them."""

encode = msgspec.json.Encoder().encode
"""Compact JSON, key order kept, non-ASCII as UTF-8."""


class ClientCall(Frozen):
    """What the client sent."""

    method: str
    path: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of header *name*; several values are joined by commas, as HTTP allows."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


class Upstream(Frozen):
    """Whom a request goes to. ``capabilities`` is the row of the model that is sent."""

    provider: str
    path: str
    capabilities: Capabilities = Capabilities()
    model: str = ""


class Undo(Frozen):
    """What a request's emitter changed that the response's parser must change back."""

    names: dict[str, str] = {}
    """Tool names as sent -> as the client knows them."""
    custom: frozenset[str] = frozenset()
    """Free-form tools (by the client's name) that were sent as functions with one string member ``input``."""


class UpstreamCall(Frozen):
    """What goes upstream. ``members`` are the body's top-level members in the order in which they are written."""

    method: str
    path: str
    headers: Headers
    members: dict[str, Any]
    request: Request
    undo: Undo = Undo()


class Meta(Frozen):
    """What a response's headers say that clients of every dialect understand, each under its own header's name."""

    request_id: str | None = None
    retry_after: str | None = None
    retry_after_ms: str | None = None
    should_retry: str | None = None
    limits: dict[str, str] = {}
    """``requests-limit``, ``requests-remaining``, ``tokens-limit``, ``tokens-remaining`` -> the number as text."""
    resets: dict[str, float] = {}
    """``requests``, ``tokens`` -> Unix time at which the limit is whole again."""


class ResponseHead(Struct):
    """Status and headers of a response."""

    status: int
    headers: Headers = []

    def header(self, name: str) -> str:
        for key, value in self.headers:
            if key == name:
                return value
        return ""

    @property
    def media_type(self) -> str:
        """The content type without its parameters, lower-case; empty when there is none."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Env(Frozen):
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


def is_stream(head: ResponseHead) -> bool:
    """Whether the upstream answers with a stream that can be passed on as it comes."""
    return head.status < 400 and head.media_type in ("text/event-stream", "application/vnd.amazon.eventstream")
