"""The gRPC machine: calls over one HTTP/2 connection. Bytes in, bytes out; no I/O, no clock.

What arrives in one read is answered in one write: all messages that are there are handled, in order, before ``output``
is asked. Deadlines (``grpc-timeout``) are ignored: whoever set one resets the stream when it passes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .connection import Connection
from .events import DataReceived, Event, RequestEnded, RequestReceived, StreamReset
from .heads import Head
from .limits import Counters, H2Limits
from .messages import (
    HEADERS,
    NOT_GRPC,
    NOT_POST,
    PREFIX,
    CallFailed,
    Inbox,
    MessageTooLong,
    Status,
    prefixed,
    trailers,
    trailers_only,
)

log = logging.getLogger(__name__)

COPIED = 32 * 1024
"""Up to here a message is copied behind its prefix; above, the prefix travels in a frame of its own."""


class Answerer(Protocol):
    """What answers one call."""

    def receive(self, message: bytes) -> Sequence[bytes]:
        """The answers to one message. May raise CallFailed, which ends the call."""

    def close(self) -> None:
        """The call is over, whichever way. Called once."""


class Outlet(Protocol):
    """For an answerer that speaks without being asked. The connection's owner must flush afterwards."""

    def send(self, message: bytes) -> None:
        """Send one message."""

    def end(self, status: int, message: str = "") -> None:
        """End the call with a gRPC status."""

    def stay(self) -> None:
        """Do not end the call by ourselves when its client has sent all."""

    def settle(self) -> None:
        """End it then again; now, if the client has."""


Method = Callable[[Head, Outlet], Answerer]
"""Makes the answerer of a call from its request's head. May raise CallFailed."""


class _Call:
    """One call that is open."""

    __slots__ = (
        "_session", "answerer", "ended", "held", "inbox", "opened", "over", "stays", "stream_id", "unhandled", "waits",
    )  # fmt: skip

    def __init__(self, session: Session, stream_id: int, inbox: Inbox) -> None:
        self._session = session
        self.stream_id = stream_id
        self.inbox = inbox
        self.answerer: Answerer | None = None
        self.opened = False
        self.ended = False
        self.held = 0
        self.unhandled = 0
        self.waits = False
        self.stays = False
        self.over = False

    def stay(self) -> None:
        self.stays = True

    def settle(self) -> None:
        self.stays = False
        if self.ended:
            self._session.finish(self)

    def send(self, message: bytes) -> None:
        self._session.send(self, message)

    def end(self, status: int, message: str = "") -> None:
        self._session.end(self, status, message)


class Session:
    """The calls of one connection."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        limits: H2Limits,
        counters: Counters,
        now: float,
        cache: dict[bytes, Head] | None = None,
    ) -> None:
        """``methods``: by path, ``/package.Service/Method``. The rest as for Connection."""
        self._methods = methods
        self._limits = limits
        self._counters = counters
        self._connection = Connection(limits, counters, now, cache)
        self._calls: dict[int, _Call] = {}
        self._buffered = 0

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the peer and handle every message that is complete. Never raises."""
        self._take(self._connection.receive(data, now))

    def output(self, now: float) -> bytes:
        """Bytes for the peer, a batch at a time: call again, when the socket takes more, until there are none."""
        connection = self._connection
        out = connection.output(now)
        drained = connection.outbox.drained
        if drained:
            connection.outbox.drained = []
            for stream in drained:
                call = self._calls.get(stream.id)
                if call:
                    self._handle(call)
            self._take(connection.pending())
        return out

    def tick(self, now: float) -> None:
        """Let time pass: call about once a second."""
        self._take(self._connection.tick(now))

    def drain(self, now: float) -> None:
        """Take no new calls; those that are open go on."""
        self._connection.drain(now)

    def abandon(self) -> None:
        """The peer is gone: every call is over."""
        for call in list(self._calls.values()):
            self._forget(call)

    @property
    def over(self) -> bool:
        """Close when ``output`` is empty."""
        return self._connection.over

    # ---- events

    def _take(self, events: list[Event]) -> None:
        while events:
            for event in events:
                if isinstance(event, DataReceived):
                    call = self._calls.get(event.stream_id)
                    if call:
                        self._on_data(call, event.data)
                elif isinstance(event, RequestReceived):
                    self._on_request(event.stream_id, event.head)
                elif isinstance(event, RequestEnded):
                    call = self._calls.get(event.stream_id)
                    if call:
                        call.ended = True
                        self.finish(call)
                elif isinstance(event, StreamReset):
                    call = self._calls.get(event.stream_id)
                    if call:
                        self._forget(call)
                else:
                    log.info("HTTP/2 connection ended: %s, %s", event.code.name, event.reason)
                    self.abandon()
            events = self._connection.pending()

    def _on_request(self, stream_id: int, head: Head) -> None:
        kind = head.get("content-type")
        if head.method != "POST":
            self._connection.send_trailers(stream_id, NOT_POST)
        elif not kind.startswith("application/grpc") or kind[16:17] not in ("", "+", ";"):
            self._connection.send_trailers(stream_id, NOT_GRPC)
        else:
            call = _Call(self, stream_id, Inbox(self._limits.max_message_bytes, head.get("grpc-encoding")))
            self._calls[stream_id] = call
            try:
                method = self._methods.get(head.path)
                if method is None:
                    raise CallFailed(Status.UNIMPLEMENTED, f"unknown method {head.path}")
                call.answerer = method(head, call)
            except Exception as error:
                self._failed(call, error)

    def _on_data(self, call: _Call, data: bytes) -> None:
        call.inbox.feed(data)
        call.unhandled += len(data)
        self._handle(call)

    def _handle(self, call: _Call) -> None:
        """Handle the messages that are there, in order, while their answers find room."""
        connection, inbox, answerer = self._connection, call.inbox, call.answerer
        if answerer is None:
            return
        stream = connection.streams.get(call.stream_id)
        mark = self._limits.max_stream_output
        call.waits = False
        try:
            while not call.over:
                if stream and stream.queued >= mark:
                    call.waits = True
                    break
                message = inbox.next()
                if message is None:
                    break
                self._counters.messages += 1
                for answer in answerer.receive(message):
                    self.send(call, answer)
        except Exception as error:
            self._failed(call, error)
            return
        if not call.over:
            self._account(call)
        if not call.waits:
            connection.handled(call.stream_id, call.unhandled)
            call.unhandled = 0
            if call.ended:
                self.finish(call)

    def _account(self, call: _Call) -> None:
        held = len(call.inbox)
        if held != call.held:
            self._buffered += held - call.held
            call.held = held
            if self._buffered > self._limits.max_buffered_bytes:
                self._counters.met("max_buffered_bytes")
                self.end(call, Status.RESOURCE_EXHAUSTED, "too many bytes wait to be handled")

    def finish(self, call: _Call) -> None:
        """End the call if its client is done and all that it sent is answered."""
        if call.waits or call.over:
            return
        if len(call.inbox):
            self.end(call, Status.INTERNAL, "the request ended inside a message")
        elif not call.stays:
            self.end(call, Status.OK)

    def _failed(self, call: _Call, error: Exception) -> None:
        if isinstance(error, MessageTooLong):
            self._counters.met("max_message_bytes")
        if isinstance(error, CallFailed):
            self.end(call, error.status, error.message)
        else:
            log.error("a call failed", exc_info=error)
            self.end(call, Status.INTERNAL, "internal error")

    def _forget(self, call: _Call) -> None:
        call.over = True
        del self._calls[call.stream_id]
        self._buffered -= call.held
        if call.answerer:
            try:
                call.answerer.close()
            except Exception:
                log.exception("closing a call failed")
            # It may hold its outlet, the call: a cycle, and messages in it.
            call.answerer = None

    # ---- answers

    def send(self, call: _Call, message: bytes) -> None:
        """Send one message of a call; its first one opens the answer."""
        connection, stream_id = self._connection, call.stream_id
        if call.over:
            return
        if not call.opened:
            call.opened = True
            connection.send_headers(stream_id, HEADERS)
        if len(message) <= COPIED:
            connection.send_data(stream_id, prefixed(message))
        else:
            connection.send_data(stream_id, PREFIX.pack(0, len(message)))
            connection.send_data(stream_id, message)

    def end(self, call: _Call, status: int, message: str = "") -> None:
        """End a call with a gRPC status."""
        if not call.over:
            block = trailers(status, message) if call.opened else trailers_only(status, message)
            self._connection.send_trailers(call.stream_id, block)
            self._forget(call)
