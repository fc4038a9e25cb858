"""The gRPC machine: calls over one HTTP/2 connection. Bytes in, bytes out; no I/O, no clock.

What arrives in one read is answered in one write: all messages that are there are handled, in order, before ``output``
is asked. Deadlines (``grpc-timeout``) are ignored: whoever set one resets the stream when it passes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from ..memory import Budget
from .connection import Connection
from .events import DataReceived, Event, RequestEnded, RequestReceived, StreamReset
from .frames import Code
from .heads import Head
from .limits import LONG_MESSAGE, OWN_TURN, Counters, H2Limits
from .messages import (
    HEADERS,
    NOT_GRPC,
    NOT_POST,
    CallFailed,
    Inbox,
    InParts,
    MessageTooLong,
    Status,
    prefix,
    prefixed,
    trailers,
    trailers_only,
)
from .outbox import most_queued

log = logging.getLogger(__name__)

CALL_BYTES: Final = 2048
"""Bytes of memory that an open call takes beside the messages that come on it."""

TURN_CALLS: Final = 512
"""Calls that are closed at once."""

MAX_PUT_OFF: Final = 16
"""Turns of what is short before a long message has its own all the same."""

COPIED: Final = 32 * 1024
"""Up to here a message is copied behind its prefix; above, the prefix travels in a frame of its own."""


class Answerer(Protocol):
    """What answers one call."""

    @property
    def is_slow(self) -> bool:
        """Its next message may take as long as a long one, however short it is."""

    def receive(self, message: bytes) -> Sequence[InParts]:
        """The answers to one message. May raise CallFailed, which ends the call."""

    def receive_parts(self, parts: list[bytes]) -> Sequence[InParts]:
        """The same for a message over many frames, in the parts in which it came."""

    def expect(self, size: int) -> Sequence[InParts]:
        """The answers to a long message of *size* bytes that begins to come: the call ends with them. None, if it
        may."""

    def refuse(self, *, too_large: bool) -> Sequence[InParts]:
        """The answers to a message that is larger than any may be, or for which there is no room now: the call ends
        with them. None, if the answerer has no words for it: then a gRPC status says it."""

    def close(self) -> None:
        """The call is over, whichever way. Called once."""


class Outlet(Protocol):
    """For an answerer that speaks without being asked. The connection's owner must flush afterwards."""

    def send(self, message: InParts) -> None:
        """Send one message."""

    def end(self, status: int, message: str = "") -> None:
        """End the call with a gRPC status."""

    def stay(self) -> None:
        """Keep the call open though its client has sent its last message: answers are still to come."""

    def settle(self) -> None:
        """Undo ``stay``: the call ends with its client's last message, at once if that has come already."""

    def leave_to(self, answerer: Answerer) -> None:
        """Have *answerer* answer what comes from now on."""

    def pass_on(self, onward: Onward) -> PassedCall:
        """Leave the call to *onward*, from within ``receive``: what has come behind that message goes there, and all
        that comes, unread."""


class Onward(Protocol):
    """Where the bytes of a call go that somebody else answers. What comes back is said to a ``PassedCall``."""

    def feed(self, data: bytes) -> None:
        """Take what came; ``taken`` is told when it needs no more room here."""

    def end(self) -> None:
        """The client has sent its last message. May be called again."""

    def go_on(self) -> None:
        """There is room for more of what comes back."""


class PassedCall(Protocol):
    """For who passes a call on: bytes of messages with their prefixes, a block of trailers. The connection's owner must
    flush afterwards."""

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""

    def taken(self, size: int) -> None:
        """So many bytes that came are on their way: as many more may come."""

    def send_bytes(self, data: bytes) -> None:
        """Send a part of the answer; its first one, which may be empty, opens it."""

    def end_with(self, block: bytes) -> None:
        """End the call with these trailers."""

    def end(self, status: int, message: str = "") -> None:
        """End it with a gRPC status."""

    def reset(self, code: int) -> None:
        """Give it up."""


Method = Callable[[Head, Outlet], Answerer]
"""Makes the answerer of a call from its request's head. May raise CallFailed."""


class _Call:
    """One call that is open."""

    __slots__ = (
        "_session", "answerer", "ended", "held", "inbox", "moved_at", "onward", "opened", "over", "reserved", "shut",
        "silent", "stays", "stream_id", "unhandled", "waits",
    )  # fmt: skip

    def __init__(self, session: Session, stream_id: int, inbox: Inbox) -> None:
        self._session = session
        self.stream_id = stream_id
        self.inbox = inbox
        self.answerer: Answerer | None = None
        self.onward: Onward | None = None
        self.opened = False
        self.ended = False
        self.held = 0
        self.reserved = 0
        """Bytes for which there is room in the process: those of the message that is coming."""

        self.shut = False
        """There was no room: nothing more may come until there is."""

        self.silent = True
        """No message has come."""

        self.moved_at = 0.0
        self.unhandled = 0
        self.waits = False
        self.stays = False
        self.over = False

    def admit(self) -> bool:
        return self._session.admit(self)

    def give_way(self) -> None:
        self._session.give_way(self)

    def stay(self) -> None:
        self.stays = True

    def settle(self) -> None:
        self.stays = False
        if self.ended:
            self._session.finish(self)

    def send(self, message: InParts) -> None:
        self._session.send(self, message)

    def end(self, status: int, message: str = "") -> None:
        self._session.end(self, status, message)

    def leave_to(self, answerer: Answerer) -> None:
        self.answerer = answerer

    def pass_on(self, onward: Onward) -> PassedCall:
        self.onward = onward
        return self

    @property
    def queued(self) -> int:
        return self._session.queued_for(self)

    def taken(self, size: int) -> None:
        self._session.taken(self, size)

    def send_bytes(self, data: bytes) -> None:
        self._session.send_bytes(self, data)

    def end_with(self, block: bytes) -> None:
        self._session.end_with(self, block)

    def reset(self, code: int) -> None:
        self._session.reset(self, code)


class Session:
    """The calls of one connection."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        limits: H2Limits,
        counters: Counters,
        now: float,
        cache: dict[bytes, Head] | None = None,
        budget: Budget | None = None,
    ) -> None:
        """``methods``: by path, ``/package.Service/Method``. ``budget``: what the process may hold. The rest as for
        Connection."""
        self._methods = methods
        self._limits = limits
        self._counters = counters
        self._connection = Connection(limits, counters, now, cache)
        self._calls: dict[int, _Call] = {}
        self._buffered = 0
        self._budget = budget or Budget(limits.max_buffered_bytes + limits.max_queued_output)
        self._queued = 0
        self._left = limits.turn_messages
        self._ready: dict[_Call, None] = {}
        """Calls with messages that have not had their turn."""
        self._long: OrderedDict[_Call, None] = OrderedDict()
        """Calls whose next message is long, and whole. Each has a turn of its own, behind all that is short: a
        connection is shared by everybody's exchanges, and a long message takes as long as hundreds of others."""
        self._put_off = 0
        """Turns for which the first of those has waited behind others."""
        self.long_turns = 0
        """How many of those have had their turn."""
        self._now = now

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the peer and handle the messages that are complete, as far as one turn goes: when there is
        ``more``, ``proceed``. Never raises."""
        self._now = now
        self._left = self._limits.turn_messages
        self._take(self._connection.receive(data, now))

    @property
    def more(self) -> bool:
        """Something that came has not had its turn."""
        return self.is_behind or bool(self._long)

    @property
    def is_behind(self) -> bool:
        """Something short that came has not had its turn: there is no use in reading more."""
        return bool(self._ready) or self._connection.more

    @property
    def is_idle(self) -> bool:
        """No call is open."""
        return not self._calls

    def proceed(self, now: float, *, short: bool = False) -> None:
        """Take one turn of what is left. *short*: nothing of what is long."""
        self._now = now
        self._left = self._limits.turn_messages
        ready, self._ready = self._ready, {}
        for call in ready:
            if not call.over:
                self._handle(call)
        self._take(self._connection.pending())
        if not self._ready:
            self._take(self._connection.proceed(now))
        if self._long and not short:
            self._put_off += 1
            if not self.is_behind or self._put_off > MAX_PUT_OFF:
                self._put_off = 0
                self.long_turns += 1
                call, _ = self._long.popitem(last=False)
                self._left = 1
                self._handle(call, alone=True)
                self._take(self._connection.pending())

    @property
    def has_output(self) -> bool:
        """There is something to ask ``output`` for, or to settle there."""
        outbox = self._connection.outbox
        return outbox.has_output or outbox.queued != self._queued

    def output(self, now: float) -> bytes:
        """``output_parts`` in one piece."""
        return b"".join(self.output_parts(now))

    def output_parts(self, now: float) -> list[bytes | memoryview]:
        """Bytes for the peer, a batch at a time: call again, when the socket takes more, until there are none."""
        connection = self._connection
        self._now = now
        out = connection.output_parts(now)
        self._account_output()
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
        self._now = now
        self._take(self._connection.tick(now))
        self._check_calls(now)
        self._take(self._connection.pending())

    def _check_calls(self, now: float) -> None:
        left = TURN_CALLS
        for call in list(self._calls.values()):
            if call.silent and call.answerer is not None and now - call.moved_at >= self._limits.silent_seconds:
                left -= 1
                if left < 0:
                    # The others have been silent for so long that another second does not matter.
                    break
                self._counters.met("silent_seconds")
                self._connection.reset(call.stream_id, Code.CANCEL)
            elif (call.shut or (call.reserved and not call.waits)) and now - call.moved_at >= self._limits.room_seconds:
                self._counters.met("room_seconds")
                self._turn_away(call, too_large=False)

    def drain(self, now: float) -> None:
        """Take no new calls; those that are open go on."""
        self._connection.drain(now)

    def abandon(self, most: int | None = None) -> bool:
        """The peer is gone: every call is over, or *most* of them. Whether all of them are: closing many thousands at
        once holds up everybody else."""
        for call in list(islice(self._calls.values(), most)):
            self._forget(call)
        self._budget.change(-self._queued)
        self._queued = 0
        return not self._calls

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
                    self.abandon(TURN_CALLS)
            events = self._connection.pending()

    def _on_request(self, stream_id: int, head: Head) -> None:
        kind = head.get("content-type")
        if head.method != "POST":
            self._connection.send_trailers(stream_id, NOT_POST)
        elif not kind.startswith("application/grpc") or kind[16:17] not in ("", "+", ";"):
            self._connection.send_trailers(stream_id, NOT_GRPC)
        else:
            call = _Call(self, stream_id, Inbox(self._limits.max_message_bytes, head.get("grpc-encoding")))
            call.moved_at = self._now
            self._calls[stream_id] = call
            if not self._take_in(call):
                return
            try:
                method = self._methods.get(head.path)
                if method is None:
                    raise CallFailed(Status.UNIMPLEMENTED, f"unknown method {head.path}")
                call.answerer = method(head, call)
            except Exception as error:
                self._failed(call, error)

    def _take_in(self, call: _Call) -> bool:
        """Count an open call. Where there is no room, the oldest on which nothing has come gives way; if there is none,
        this one is refused."""
        budget = self._budget
        call.held = CALL_BYTES
        budget.change(CALL_BYTES)
        if budget.exceeded:
            self._counters.met("max_held_bytes")
            oldest = next(iter(budget.silent), None)
            if oldest is None:
                self._connection.reset(call.stream_id, Code.REFUSED_STREAM)
                return False
            oldest.give_way()
        budget.silent[call] = None
        return True

    def give_way(self, call: _Call) -> None:
        """Give up a call on which nothing has come."""
        self._forget(call)
        self._connection.reset(call.stream_id, Code.CANCEL)

    def _on_data(self, call: _Call, data: bytes) -> None:
        call.unhandled += len(data)
        if call.onward is not None:
            call.onward.feed(data)
            self._account(call)
            return
        call.inbox.feed(data)
        if not call.shut:
            call.moved_at = self._now
        self._handle(call)

    def _handle(self, call: _Call, *, alone: bool = False) -> None:
        """Handle the messages that are there, in order, while their answers find room. *alone*: this turn is for a long
        one."""
        connection, inbox = self._connection, call.inbox
        if call.onward is not None:
            call.onward.go_on()
            return
        stream = connection.streams.get(call.stream_id)
        mark = self._limits.max_stream_output
        call.waits = False
        try:
            while not call.over:
                answerer = call.answerer
                if answerer is None:
                    return
                if stream and stream.queued >= mark:
                    call.waits = True
                    break
                if self._left <= 0:
                    if len(inbox):
                        call.waits = True
                        self._ready[call] = None
                    break
                if not alone and (inbox.whole > OWN_TURN or (answerer.is_slow and len(inbox))):
                    call.waits = True
                    self._long[call] = None
                    break
                parts = inbox.next_parts() if inbox.whole else None
                message = inbox.next() if parts is None else b""
                if message is None:
                    break
                self._left -= 1
                call.reserved = 0
                if call.silent:
                    call.silent = False
                    self._budget.silent.pop(call, None)
                if not message and parts is None:
                    connection.count("max_empty_messages")
                self._account(call)
                if call.over:
                    return  # type: ignore[unreachable]  # there was no room
                self._counters.messages += 1
                for answer in answerer.receive(message) if parts is None else answerer.receive_parts(parts):
                    self.send(call, answer)
                if self._is_passed(call):
                    return
        except Exception as error:
            self._failed(call, error)
            return
        if not call.over:
            self._make_room(call)
            self._account(call)
        if not call.waits and not call.shut:
            connection.handled(call.stream_id, call.unhandled)
            call.unhandled = 0
            if call.ended:
                self.finish(call)

    def _is_passed(self, call: _Call) -> bool:
        """Whether the answerer has left a call to somebody else. What came behind the message goes there too."""
        onward = call.onward
        if onward is None:
            return False
        onward.feed(call.inbox.rest())
        self._account(call)
        if call.ended:
            self.finish(call)
        return True

    def _make_room(self, call: _Call) -> None:
        """Hold room for all of a long message that has begun, or let it wait."""
        coming = call.inbox.announced
        if coming <= LONG_MESSAGE or call.reserved or call.shut:
            return
        if coming > self._budget.most:
            self._counters.met("max_held_bytes")
            self._turn_away(call, too_large=True)
            return
        if call.answerer and (answers := call.answerer.expect(coming)):
            self._end_with_answers(call, answers)
        elif not self.admit(call):
            call.shut = True
            call.moved_at = self._now
            self._budget.waiting[call] = None

    def admit(self, call: _Call) -> bool:
        """Take the room that a long message needs, if it is there. False: it is not."""
        if call.over:
            return True
        coming = call.inbox.announced
        if not self._budget.has_room(CALL_BYTES + coming - call.held):
            return False
        call.reserved = coming
        call.moved_at = self._now
        if call.shut:
            call.shut = False
            self._account(call)
            self._connection.handled(call.stream_id, call.unhandled)
            call.unhandled = 0
        return True

    def _turn_away(self, call: _Call, *, too_large: bool, why: str = "too many bytes wait to be handled") -> None:
        """End a call whose message is not taken, in the answerer's own words if it has any."""
        answers = call.answerer.refuse(too_large=too_large) if call.answerer else ()
        if answers:
            self._end_with_answers(call, answers)
        else:
            self.end(call, Status.RESOURCE_EXHAUSTED, why)

    def _end_with_answers(self, call: _Call, answers: Sequence[InParts]) -> None:
        for answer in answers:
            self.send(call, answer)
        self.end(call, Status.OK)

    def _account(self, call: _Call) -> None:
        if call.over:
            return
        held = CALL_BYTES + (max(len(call.inbox), call.reserved) if call.onward is None else call.unhandled)
        if held != call.held:
            self._buffered += held - call.held
            self._budget.change(held - call.held)
            more, call.held = held > call.held, held
            if self._buffered > self._limits.max_buffered_bytes:
                self._counters.met("max_buffered_bytes")
                self._turn_away(call, too_large=False)
            elif more and self._budget.exceeded:
                self._counters.met("max_held_bytes")
                self._turn_away(call, too_large=False)

    def _account_output(self) -> None:
        queued = self._connection.outbox.queued
        if queued == self._queued:
            return
        is_more = queued > self._queued
        self._budget.change(queued - self._queued)
        self._queued = queued
        streams = self._connection.streams
        if is_more and self._budget.exceeded and streams:
            self._counters.met("max_held_bytes")
            self._connection.reset(most_queued(streams).id, Code.ENHANCE_YOUR_CALM)
            self._account_output()

    def finish(self, call: _Call) -> None:
        """End the call if its client is done and all that it sent is answered."""
        if call.onward is not None:
            call.onward.end()
            return
        if call.waits or call.over:
            return
        if len(call.inbox):
            self.end(call, Status.INTERNAL, "the request ended inside a message")
        elif not call.stays:
            self.end(call, Status.OK)

    def _failed(self, call: _Call, error: Exception) -> None:
        if isinstance(error, MessageTooLong):
            self._counters.met("max_message_bytes")
            self._turn_away(call, too_large=True, why=error.message)
            return
        if isinstance(error, CallFailed):
            self.end(call, error.status, error.message)
        else:
            log.error("a call failed", exc_info=error)
            self.end(call, Status.INTERNAL, "internal error")

    def _forget(self, call: _Call) -> None:
        call.over = True
        del self._calls[call.stream_id]
        self._ready.pop(call, None)
        self._long.pop(call, None)
        self._budget.waiting.pop(call, None)
        self._budget.silent.pop(call, None)
        held, call.held = call.held, 0
        self._buffered -= held - CALL_BYTES
        self._budget.change(-held)
        if call.answerer:
            try:
                call.answerer.close()
            except Exception:
                log.exception("closing a call failed")
            # It may hold its outlet, the call: a cycle, and messages in it.
            call.answerer = None
        call.onward = None

    # ---- answers

    def send(self, call: _Call, message: InParts) -> None:
        """Send one message of a call; its first one opens the answer."""
        connection, stream_id = self._connection, call.stream_id
        if call.over:
            return
        if not call.opened:
            call.opened = True
            connection.send_headers(stream_id, HEADERS)
        if isinstance(message, tuple):
            connection.send_data(stream_id, prefix(sum([len(part) for part in message])))
            for part in message:
                connection.send_data(stream_id, part)
        elif len(message) <= COPIED:
            connection.send_data(stream_id, prefixed(message))
        else:
            connection.send_data(stream_id, prefix(len(message)))
            connection.send_data(stream_id, message)
        self._account_output()

    def send_bytes(self, call: _Call, data: bytes) -> None:
        """Send a part of the answer that somebody else gives; the first one opens it."""
        if call.over:
            return
        if not call.opened:
            call.opened = True
            self._connection.send_headers(call.stream_id, HEADERS)
        if data:
            self._connection.send_data(call.stream_id, data)
            self._account_output()

    def queued_for(self, call: _Call) -> int:
        """Bytes that wait to be sent on a call."""
        stream = self._connection.streams.get(call.stream_id)
        return stream.queued if stream else 0

    def taken(self, call: _Call, size: int) -> None:
        """So many bytes of a call that somebody else answers are on their way there."""
        if not call.over:
            # Some of the first message may have been counted before it was whole.
            size = min(size, call.unhandled)
            self._connection.handled(call.stream_id, size)
            call.unhandled -= size
            self._account(call)

    def end_with(self, call: _Call, block: bytes) -> None:
        """End a call with the trailers that somebody else gives."""
        if not call.over:
            self._connection.send_trailers(call.stream_id, block)
            self._forget(call)

    def reset(self, call: _Call, code: int) -> None:
        """Give a call up, as somebody else does."""
        if not call.over:
            self._forget(call)
            self._connection.reset(call.stream_id, Code(code))

    def end(self, call: _Call, status: int, message: str = "") -> None:
        """End a call with a gRPC status."""
        if not call.over:
            block = trailers(status, message) if call.opened else trailers_only(status, message)
            self._connection.send_trailers(call.stream_id, block)
            self._forget(call)
