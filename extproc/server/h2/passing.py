"""Calls that another process answers: our HTTP/2 as a client speaks it, to a server of our own at the other end of one
socket. Bytes go there as they come and come back as they are: no message is put together here.

Whoever sends waits as he would without us: what the other process has not taken is not counted as taken here, and what
Envoy has not taken of an answer is not asked for there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from ..service import PROCESS, ROLE_HEADER
from . import frames
from .frames import Code, ConnectionFault, FrameReader, StreamFault
from .heads import EMPTY_TABLE, block
from .limits import ANSWER_WINDOW, PASSED_WINDOW
from .messages import Status, prefixed
from .outbox import BATCH_BYTES, Outbox, Stream
from .session import Outlet, PassedCall

log = logging.getLogger(__name__)

HELLO = b"".join((
    frames.PREFACE,
    frames.settings({frames.INITIAL_WINDOW_SIZE: ANSWER_WINDOW, frames.MAX_FRAME_SIZE: frames.LONG_FRAME_BYTES}),
    frames.window_update(0, PASSED_WINDOW - frames.DEFAULT_WINDOW),
    # Of the settings that it will send: we know our own server's.
    frames.frame(frames.SETTINGS, frames.ACK),
))  # fmt: skip
NOT_THERE = "the process that answers long calls has ended"


class PassedOn:
    """One call, on its way to the other process and back."""

    __slots__ = ("_ended", "_fed", "_heard", "_link", "_owed", "_unsent", "call", "over", "stream")

    def __init__(self, link: Link, stream: Stream, heard: Callable[[], None]) -> None:
        self._link = link
        self._heard: Callable[[], None] | None = heard
        self.stream = stream
        self.call: PassedCall
        self.over = False
        self._fed: list[bytes] = []
        """What came, and has not been given to the link."""
        self._unsent = 0
        """Bytes that Envoy has not been told to be taken."""
        self._owed = 0
        """Bytes of the answer for which the other process has not been given room again."""
        self._ended = False

    def feed(self, data: bytes) -> None:
        if data and not self.over:
            self._fed.append(data)
            self._link.send_soon(self)

    def hand_over(self) -> bytes:
        """What came since, in one piece: what it costs from here on is by the number of pieces."""
        fed, self._fed = self._fed, []
        data = fed[0] if len(fed) == 1 else b"".join(fed)
        self._unsent += len(data)
        return data

    def end(self) -> None:
        if not self._ended and not self.over:
            self._ended = True
            self._link.send_end(self)

    def go_on(self) -> None:
        """Give room for as much of the answer as Envoy has taken."""
        owed = self._owed
        if owed * 2 >= ANSWER_WINDOW and not self.over and self.call.queued < ANSWER_WINDOW:
            self._owed = 0
            self._link.widen(self.stream.id, owed)

    def settle(self) -> bool:
        """Tell what has been sent since. Whether that was all."""
        sent, self._unsent = self._unsent - self.stream.queued, self.stream.queued
        if sent:
            self.call.taken(sent)
        return not self._unsent

    def hear(self) -> None:
        """Something came back, or nothing ever will."""
        if self._heard is not None:
            heard, self._heard = self._heard, None
            heard()

    def answered(self, data: bytes) -> None:
        """Bytes came back."""
        self.hear()
        self._owed += len(data)
        self.call.send_bytes(data)
        self.go_on()

    def close(self) -> None:
        """The call is over here."""
        if not self.over:
            self._link.give_up(self)


class Link(asyncio.Protocol):
    """The connection to the other process. Calls may begin before it is made: they wait in it."""

    def __init__(
        self, now: Callable[[], float], flush: Callable[[], None], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        """*flush*: has all that was said to calls sent; *soon*: has something called once all that came in one read has
        been taken."""
        self.takes = True
        """More calls may begin."""
        self._now = now
        self._flush_calls = flush
        self._soon = soon
        self._is_due = False
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._reader = FrameReader(frames.LONG_FRAME_BYTES)
        self._outbox = Outbox(BATCH_BYTES, now())
        self._outbox.push(HELLO)
        self._calls: dict[int, PassedOn] = {}
        self._fed: dict[PassedOn, None] = {}
        """Those with bytes that have not been sent, nor wait to be."""
        self._unsettled: dict[PassedOn, None] = {}
        self._came = 0
        self._next_id = 1

    @property
    def is_idle(self) -> bool:
        return not self._calls

    def begin(self, role: str, message: bytes, outlet: Outlet, heard: Callable[[], None]) -> PassedOn:
        """Pass on the call of *outlet*, whose first *message* has come. *heard*: called once, when anything comes back
        or the call is over."""
        fields = [(":method", "POST"), (":scheme", "http"), (":path", PROCESS), ("content-type", "application/grpc")]
        head = block(*fields, (ROLE_HEADER, role)) if role else block(*fields)
        stream = Stream(self._next_id, 0, self._outbox.initial_window)
        if stream.id == 1:
            head = EMPTY_TABLE + head
        self._next_id += 2
        self.takes = self.takes and self._next_id <= frames.MAX_STREAM_ID
        self._outbox.push(frames.frame(frames.HEADERS, frames.END_HEADERS, stream.id, head))
        made = self._calls[stream.id] = PassedOn(self, stream, heard)
        made.call = outlet.pass_on(made)
        made.feed(prefixed(message))
        return made

    # ---- what calls say

    def send_soon(self, passed: PassedOn) -> None:
        """Send what a call has been fed, with what follows of the same read."""
        self._fed[passed] = None
        if not self._is_due:
            self._is_due = True
            self._soon(self._send)

    def _send(self) -> None:
        self._is_due = False
        for passed in list(self._fed):
            self._take_from(passed)
        self._flush()
        self._flush_calls()

    def _take_from(self, passed: PassedOn) -> None:
        if passed in self._fed:
            del self._fed[passed]
            self._unsettled[passed] = None
            self._outbox.data(passed.stream, passed.hand_over())

    def send_end(self, passed: PassedOn) -> None:
        """The last byte of a call, behind those that wait."""
        self._take_from(passed)
        stream = passed.stream
        self._outbox.trailers(stream, frames.frame(frames.DATA, frames.END_STREAM, stream.id))
        self._flush()

    def widen(self, stream_id: int, size: int) -> None:
        """Give room for more of an answer."""
        self._outbox.push(frames.window_update(stream_id, size))
        self._flush()

    def give_up(self, passed: PassedOn) -> None:
        """A call is over here, and not there."""
        self._forget(passed)
        self._outbox.push(frames.rst_stream(passed.stream.id, Code.CANCEL))
        self._flush()

    def close(self) -> None:
        """Close the connection; what is open ends."""
        self.takes = False
        if self._transport is not None:
            self._transport.abort()

    def _forget(self, passed: PassedOn) -> None:
        passed.over = True
        passed.hear()
        self._calls.pop(passed.stream.id, None)
        self._fed.pop(passed, None)
        self._unsettled.pop(passed, None)
        self._outbox.discard(passed.stream)

    def _flush(self) -> None:
        outbox = self._outbox
        while self._transport is not None and not self._paused:
            outbox.now = self._now()
            if outbox.waiting:
                outbox.pump()
            out = outbox.take_parts()
            if not out:
                break
            self._transport.writelines(out)
        outbox.drained.clear()
        outbox.finished.clear()
        for passed in list(self._unsettled):
            if passed.settle():
                self._unsettled.pop(passed, None)

    # ---- what asyncio says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=BATCH_BYTES)
        self._flush()
        self._flush_calls()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()
        self._flush_calls()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, flags, stream_id, payload in self._reader.cut(data):
                self._on_frame(kind, flags, stream_id, payload)
        except (ConnectionFault, StreamFault) as fault:
            log.error("what came of the process that answers long calls is no HTTP/2 of ours: %s", fault)
            self.close()
        if self._came * 2 >= PASSED_WINDOW:
            # At once, as our server does: what bounds memory are the windows of streams.
            self._outbox.push(frames.window_update(0, self._came))
            self._came = 0
        self._flush()
        self._flush_calls()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost()

    def lost(self) -> None:
        """The other process is gone: what it had ends."""
        self.takes = False
        self._transport = None
        for passed in list(self._calls.values()):
            self._forget(passed)
            passed.call.end(Status.UNAVAILABLE, NOT_THERE)
        self._flush_calls()

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        passed = self._calls.get(stream_id)
        if kind == frames.DATA:
            self._came += len(payload)
            if passed is not None and payload:
                passed.answered(payload)
        elif kind == frames.HEADERS:
            if passed is None:
                return
            if flags & frames.END_STREAM:
                self._forget(passed)
                passed.call.end_with(payload)
            else:
                passed.call.send_bytes(b"")
        elif kind == frames.RST_STREAM:
            if passed is not None:
                self._forget(passed)
                passed.call.reset(frames.WORD.unpack(payload)[0])
        elif kind == frames.WINDOW_UPDATE:
            if passed is not None or not stream_id:
                increment = frames.WORD.unpack(payload)[0] & frames.MAX_WINDOW
                self._outbox.widen(passed.stream if passed is not None else None, increment)
        elif kind == frames.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == frames.PING:
            if not flags & frames.ACK:
                self._outbox.push(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY:
            self.takes = False

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for name, value in frames.SETTING.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._outbox.resize((passed.stream for passed in self._calls.values()), value)
            elif name == frames.MAX_FRAME_SIZE:
                self._outbox.limit_frames(value)
