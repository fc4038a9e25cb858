"""The other end of a conversation with a machine: says frames, hears frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import hpack

from extproc.server.h2 import frames
from extproc.server.h2.connection import Connection
from extproc.server.h2.events import Event
from extproc.server.h2.frames import Code
from extproc.server.h2.heads import EMPTY_TABLE, Head, block
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.session import Method, Outlet, Session
from extproc.server.memory import Budget

ECHO = "/test.Test/Echo"
REQUEST = block(
    (":method", "POST"), (":scheme", "http"), (":path", ECHO), ("te", "trailers"), ("content-type", "application/grpc")
)
SETTINGS_ACK = frames.frame(frames.SETTINGS, frames.ACK)
HELLO = frames.PREFACE + frames.settings({}) + SETTINGS_ACK


def examples(count: int) -> int:
    """How many examples a property is tried on: *count*, or fifty times as many with HYPOTHESIS_PROFILE=long."""
    return count * (50 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> Code:
        """Of a RST_STREAM or GOAWAY."""
        start = 4 if self.kind == frames.GOAWAY else 0
        return Code(int.from_bytes(self.payload[start : start + 4], "big"))


def decoded(wire: bytes) -> dict[str, str]:
    """The fields of a block that needs no table."""
    return {str(name, "ascii"): str(value, "latin-1") for name, value in hpack.Decoder().decode(wire, raw=True)}


def headers(stream_id: int, *, end: bool = False, block: bytes = REQUEST, flags: int = frames.END_HEADERS) -> bytes:
    return frames.frame(frames.HEADERS, flags | (frames.END_STREAM if end else 0), stream_id, block)


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if end else 0, stream_id, payload)


def rst(stream_id: int) -> bytes:
    return frames.rst_stream(stream_id, Code.CANCEL)


class Peer:
    """A client of one Connection that has said hello. The block of its first request empties the header table."""

    def __init__(self, limits: H2Limits | None = None, *, hello: bool = True) -> None:
        self.counters = Counters()
        self.limits = limits or H2Limits()
        self.now = 0.0
        self.machine = Connection(self.limits, self.counters, self.now)
        self._reader = frames.FrameReader()
        if hello:
            self._greet()

    def _greet(self) -> None:
        self.say(HELLO)
        self.hear()
        # A stream that was there and is gone, so that later blocks need no table update.
        self.say(headers(1, block=EMPTY_TABLE + REQUEST), rst(1))
        self.hear()

    def say(self, *said: bytes) -> list[Event]:
        events = self.machine.receive(b"".join(said), self.now)
        while self.machine.more:
            more = self.machine.proceed(self.now)
            events = events + more if events is not None else None
        return events

    def hear_now(self) -> list[Frame]:
        """What the machine says without another turn."""
        heard = b""
        while out := self.machine.output(self.now):
            heard += out
        return [Frame(*each) for each in self._reader.cut(heard)]

    def hear(self) -> list[Frame]:
        heard = b""
        while True:
            while out := self.machine.output(self.now):
                heard += out
            if not self.machine.more:
                break
            self.machine.proceed(self.now)
        return [Frame(*each) for each in self._reader.cut(heard)]

    def alive(self) -> bool:
        self.say(frames.frame(frames.PING, 0, 0, b"are you?"))
        return Frame(frames.PING, frames.ACK, 0, b"are you?") in self.hear()


class Echo:
    """Answers each message with itself."""

    made: list[Echo]
    is_slow = False

    def __init__(self, head: Head, outlet: Outlet) -> None:
        self.head = head
        self.outlet = outlet
        self.received: list[bytes] = []
        self.closed = 0

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.received.append(message)
        return (message,)

    def receive_parts(self, parts: list[bytes]) -> Sequence[bytes]:
        return self.receive(b"".join(parts))

    def expect(self, size: int) -> Sequence[bytes]:
        return ()

    def refuse(self, *, too_large: bool) -> Sequence[bytes]:
        return ()

    def close(self) -> None:
        self.closed += 1


class Caller(Peer):
    """A client of a Session whose one method is Echo; ``answerers`` are the calls' in order."""

    def __init__(
        self,
        limits: H2Limits | None = None,
        methods: dict[str, Method] | None = None,
        *,
        hello: bool = True,
        budget: Budget | None = None,
    ) -> None:
        self.counters = Counters()
        self.limits = limits or H2Limits()
        self.now = 0.0
        self.answerers: list[Echo] = []
        self.machine: Session = Session(  # type: ignore[assignment]
            methods or {ECHO: self._echo}, self.limits, self.counters, 0.0, budget=budget
        )
        self._reader = frames.FrameReader()
        if hello:
            self._greet()
        self.answerers.clear()

    def _echo(self, head: Head, outlet: Outlet) -> Echo:
        self.answerers.append(Echo(head, outlet))
        return self.answerers[-1]
