"""What every emitter of responses shares."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...llm.events import ResponseEnded, ResponseEvent, ResponseFailed, ResponseStarted, StopReason
from ...llm.failures import STATUS_OF, ErrorKind
from ...llm.fold import Folded
from ...llm.serial import Serializer
from ..base import Answering, Dialect, Headers, Meta, ResponseHead, encode, is_stream


class EmitterBase:
    """What every emitter shares. ``streamed``: the client asked for a stream and gets one. ``head_sent``: the head went
    out before the first event, so that an error can only be said in the stream."""

    def __init__(self, dialect: Dialect, answering: Answering) -> None:
        request, upstream = answering.request, answering.upstream
        self.dialect = dialect
        self.request = request
        self.meta = answering.meta
        self.env = answering.env
        self.losses = answering.losses
        self.started: ResponseStarted | None = None
        self.head_sent = request.stream and is_stream(upstream)
        self.serial: Serializer | None = None
        """Set by a dialect whose stream knows one open block at a time."""
        self._folded = None if request.stream else Folded()
        content_type = dialect.stream_type if request.stream else "application/json"
        self.head = ResponseHead(upstream.status, [("content-type", content_type), *self.meta_headers(self.meta)])
        if request.stream:
            self.head.headers.append(("cache-control", "no-cache"))

    # ---- what a subclass says

    repeats_texts = False
    """Its stream tells a text again when the text is whole, or a place in it."""

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
    def keeps_texts(self) -> bool:
        """Texts stay here until the end of the response."""
        return self.repeats_texts or self._folded is not None

    @property
    def failed(self) -> ResponseFailed | None:
        """A failure that was found only in writing: the client has been told."""
        return self.serial.failed if self.serial is not None else None

    def emit(self, event: ResponseEvent) -> bytes:
        kind = type(event)
        if kind is ResponseFailed and not self.head_sent:
            # Nothing reached the client yet, whatever was made for it: it gets the error, with the error's status.
            self.head, body = self.dialect.emit_error(event, meta_of(event, self.meta))  # type: ignore[arg-type]
            return body
        if kind is ResponseStarted:
            self.started = event  # type: ignore[assignment]
        folded = self._folded
        if folded is None:
            return self.stream(event)
        folded.add(event)
        return encode(self.whole(folded, event)) if kind is ResponseEnded else b""  # type: ignore[arg-type]


def meta_of(failed: ResponseFailed, meta: Meta) -> Meta:
    """*meta*, with what the error itself says of it where the headers do not."""
    if failed.retry_after is None or meta.retry_after is not None:
        return meta
    return replace(meta, retry_after=failed.retry_after)


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
