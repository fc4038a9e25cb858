"""Calls that another process answers: two of our sessions, and the link between them, without a process or a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.server.h2 import frames
from extproc.server.h2.frames import Code
from extproc.server.h2.heads import EMPTY_TABLE, Head
from extproc.server.h2.limits import Counters, H2Limits, of_our_own
from extproc.server.h2.messages import CallFailed, prefixed
from extproc.server.h2.passing import HELLO, Link, PassedOn
from extproc.server.h2.session import Answerer, Outlet, Session
from extproc.server.memory import Budget
from extproc.server.service import PROCESS, ROLE_HEADER
from tests.server.h2.peer import ECHO, REQUEST, Echo, decoded, examples, headers, rst
from tests.server.h2.peer import HELLO as HI


class Wire:
    """What an asyncio transport is to the link: bytes that wait for whoever takes them."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.most_parts = 0
        """How many pieces were written at once, at most."""
        self.aborted = False

    def write(self, data: bytes | memoryview) -> None:
        self.written += data

    def writelines(self, parts: list[bytes | memoryview]) -> None:
        self.most_parts = max(self.most_parts, len(parts))
        for part in parts:
            self.write(part)

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


class Passing:
    """Passes its call on with the first message."""

    is_slow = False

    def __init__(self, world: World, head: Head, outlet: Outlet) -> None:
        self._world, self._head, self._outlet = world, head, outlet
        self.passed: PassedOn | None = None

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.passed = self._world.link.begin(self._head.get(ROLE_HEADER), message, self._outlet, self._world.hear)
        return ()

    def receive_parts(self, parts: list[bytes]) -> Sequence[bytes]:
        return self.receive(b"".join(parts))

    def expect(self, size: int) -> Sequence[bytes]:
        return ()

    def refuse(self, *, too_large: bool) -> Sequence[bytes]:
        return ()

    def close(self) -> None:
        self._world.closed += 1
        if self.passed is not None:
            self.passed.close()


class World:
    """Envoy, the session that passes on, the link, and the session of the other process."""

    def __init__(self, step: int = 1 << 20, *, answer: Any = None, connect: bool = True) -> None:
        self.step = step
        self.closed = 0
        self.heard = 0
        self.budget = Budget(1 << 30)
        limits = H2Limits()
        self.here = Session({ECHO: self._pass}, limits, Counters(), 0.0, budget=self.budget)
        self.answerers: list[Echo] = []
        self.there = Session({PROCESS: answer or self._echo}, of_our_own(limits), Counters(), 0.0)
        self.due: list[Callable[[], None]] = []
        self.link = Link(lambda: 0.0, lambda: None, self.due.append)
        self.wire = Wire()
        self.connected = False
        self._reader = frames.FrameReader()
        self.windows = {0: frames.DEFAULT_WINDOW}
        self.waiting: dict[int, deque[bytes]] = {}
        self.ends: set[int] = set()
        self.answers: dict[int, bytearray] = {}
        self.trailers: dict[int, dict[str, str]] = {}
        self.resets: dict[int, int] = {}
        self.takes_answers = True
        self.here.receive(HI, 0.0)
        self.opened = 0
        if connect:
            self.connect()

    def hear(self) -> None:
        self.heard += 1

    def connect(self) -> None:
        self.connected = True
        self.link.connection_made(cast(asyncio.Transport, self.wire))

    def _pass(self, head: Head, outlet: Outlet) -> Answerer:
        return Passing(self, head, outlet)

    def _echo(self, head: Head, outlet: Outlet) -> Answerer:
        self.answerers.append(Echo(head, outlet))
        return self.answerers[-1]

    def open(self, *, role: bool = False) -> int:
        self.opened += 1
        stream = 2 * self.opened - 1
        block = (EMPTY_TABLE if stream == 1 else b"") + REQUEST
        if role:
            block += b"\0\x0ex-extproc-role\x06router"
        self.here.receive(headers(stream, block=block), 0.0)
        self.waiting[stream] = deque()
        self.answers[stream] = bytearray()
        return stream

    def say(self, stream: int, data: bytes, cut: int = 16384) -> None:
        self.waiting[stream].extend(data[at : at + cut] for at in range(0, len(data), cut))

    def run(self) -> None:
        """Until nobody has more to say."""
        while self._send() + self._settle() + self._hear() + self._cross():
            pass

    def _settle(self) -> int:
        """What was put off until a read was over."""
        due, self.due[:] = list(self.due), []
        for each in due:
            each()
        return len(due)

    def _send(self) -> int:
        sent = 0
        for stream, pieces in self.waiting.items():
            window = self.windows.get(stream, 1 << 20)
            while pieces and len(pieces[0]) <= min(window, self.windows[0]):
                piece = pieces.popleft()
                window -= len(piece)
                self.windows[stream] = window
                self.windows[0] -= len(piece)
                self.here.receive(frames.frame(frames.DATA, 0, stream, piece), 0.0)
                sent += 1
            if not pieces and stream in self.ends:
                self.ends.discard(stream)
                self.here.receive(frames.frame(frames.DATA, frames.END_STREAM, stream), 0.0)
                sent += 1
        return sent

    def _hear(self) -> int:
        heard = b""
        while self.here.more:
            self.here.proceed(0.0)
        while out := self.here.output(0.0):
            heard += out
        for kind, flags, stream, payload in self._reader.cut(heard):
            if kind == frames.WINDOW_UPDATE:
                self.windows[stream] = self.windows.get(stream, 1 << 20) + frames.WORD.unpack(payload)[0]
            elif kind == frames.DATA:
                self.answers[stream] += payload
                if self.takes_answers and payload:
                    size = len(payload)
                    self.here.receive(frames.window_update(stream, size) + frames.window_update(0, size), 0.0)
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                self.trailers[stream] = decoded(payload)
            elif kind == frames.RST_STREAM:
                self.resets[stream] = frames.WORD.unpack(payload)[0]
        return len(heard)

    def _cross(self) -> int:
        """Some bytes in both directions between the link and the other process."""
        if not self.connected:
            return 0
        piece = bytes(self.wire.written[: self.step])
        del self.wire.written[: self.step]
        if piece:
            self.there.receive(piece, 0.0)
        while self.there.more:
            self.there.proceed(0.0)
        back = b""
        while out := self.there.output(0.0):
            back += out
        for at in range(0, len(back), self.step):
            self.link.data_received(back[at : at + self.step])
        return len(piece) + len(back)


@given(
    calls=st.lists(st.lists(st.integers(0, 400_000), min_size=1, max_size=4), min_size=1, max_size=4),
    step=st.integers(100, 70_000),
    cut=st.integers(1000, 16384),
)
@settings(max_examples=examples(25), deadline=None)
def test_however_they_are_cut_messages_come_and_go_as_they_are(calls: list[list[int]], step: int, cut: int) -> None:
    world = World(step)
    wanted = {}
    for number, sizes in enumerate(calls):
        stream = world.open()
        wanted[stream] = b"".join(prefixed(bytes([number, at]) * size) for at, size in enumerate(sizes))
        world.say(stream, wanted[stream], cut)
        world.ends.add(stream)
    world.run()
    assert {stream: bytes(found) for stream, found in world.answers.items()} == wanted
    assert {each["grpc-status"] for each in world.trailers.values()} == {"0"} and len(world.trailers) == len(calls)
    assert world.link.is_idle and world.here.is_idle and world.there.is_idle
    assert world.budget.held == 0 and world.closed == world.heard == len(calls)
    assert all(echo.closed == 1 for echo in world.answerers)


def test_what_came_behind_the_first_message_goes_too_and_the_role_with_it() -> None:
    world = World()
    stream = world.open(role=True)
    world.say(stream, prefixed(b"first") + prefixed(b"second") + prefixed(b"third")[:7])
    world.run()
    (echo,) = world.answerers
    assert echo.received == [b"first", b"second"] and echo.head.get(ROLE_HEADER) == "router"
    world.say(stream, prefixed(b"third")[7:])
    world.run()
    assert echo.received[2:] == [b"third"] and len(world.answers[stream]) == 5 * 3 + 16


def test_what_is_long_is_not_put_together_to_be_written() -> None:
    world = World()
    stream = world.open()
    world.say(stream, prefixed(b"x" * 300_000))
    world.run()
    assert world.answers[stream] == prefixed(b"x" * 300_000) and world.wire.most_parts > 1


def test_calls_may_begin_before_the_other_process_is_there() -> None:
    world = World(connect=False)
    stream = world.open()
    world.say(stream, prefixed(b"first") + prefixed(b"x" * 3_000_000))
    world.run()
    unsent = sum(map(len, world.waiting[stream]))
    assert unsent >= 3_000_000 - 2 * (1 << 20), "its client waits meanwhile"
    assert world.budget.held > 0
    world.connect()
    world.run()
    assert world.answers[stream] == prefixed(b"first") + prefixed(b"x" * 3_000_000)


def test_a_client_that_does_not_read_has_little_kept_for_it() -> None:
    world = World()
    world.takes_answers = False
    stream = world.open()
    for _ in range(100):
        world.say(stream, prefixed(b"y" * 100_000))
    world.run()
    held = world.budget.held + world.there._budget.held
    assert held < 4_000_000 and sum(map(len, world.waiting[stream])) > 5_000_000
    world.takes_answers = True
    world.here.receive(frames.window_update(stream, 1 << 30) + frames.window_update(0, 1 << 30), 0.0)
    world.run()
    assert len(world.answers[stream]) == 100 * 100_005


def test_a_call_that_its_client_resets_ends_there_too() -> None:
    world = World()
    stream, other = world.open(), world.open()
    world.say(stream, prefixed(b"a") + prefixed(b"b" * 100)[:50])
    world.say(other, prefixed(b"c"))
    world.run()
    world.here.receive(rst(stream), 0.0)
    world.run()
    assert world.answerers[0].closed == 1 and not world.link.is_idle
    world.say(other, prefixed(b"d"))
    world.ends.add(other)
    world.run()
    assert world.answers[other] == prefixed(b"c") + prefixed(b"d") and world.link.is_idle


def test_when_the_other_process_is_gone_its_calls_end_as_a_dead_workers_do() -> None:
    world = World()
    streams = [world.open(), world.open()]
    world.say(streams[0], prefixed(b"a"))
    world.say(streams[1], prefixed(b"b") + prefixed(b"b" * 5000)[:300])
    world.run()
    world.link.connection_lost(None)
    world.run()
    assert world.trailers[streams[0]]["grpc-status"] == "14"
    assert world.here.is_idle and not world.link.takes and world.budget.held == 0
    # Nothing more is said, and nobody falls over it.
    world.link.lost()


@pytest.mark.parametrize("how", ["failed", "reset"])
def test_it_may_fail_or_give_up_a_call(how: str) -> None:
    class Failing(Echo):
        def receive(self, message: bytes) -> Sequence[bytes]:
            raise CallFailed(8, "too much")

    world = World(answer=Failing)
    stream = world.open()
    world.say(stream, prefixed(b"a") if how == "failed" else prefixed(b"a")[:5])
    if how == "reset":
        world.say(stream, b"a")
        world.run = lambda: None  # type: ignore[method-assign]
        world._send()
        world.link._on_frame(frames.RST_STREAM, 0, 1, frames.WORD.pack(Code.REFUSED_STREAM))
        world._hear()
        assert world.resets[stream] == Code.REFUSED_STREAM
    else:
        world.run()
        assert world.trailers[stream]["grpc-status"] == "8"
    assert world.link.is_idle and world.here.is_idle


def test_a_goodbye_takes_no_more_calls_and_lets_the_open_ones_end() -> None:
    world = World()
    stream = world.open()
    world.say(stream, prefixed(b"a"))
    world.run()
    world.there.drain(0.0)
    world.run()
    assert not world.link.takes
    world.say(stream, prefixed(b"b"))
    world.ends.add(stream)
    world.run()
    assert world.answers[stream] == prefixed(b"a") + prefixed(b"b") and world.there.over


def test_what_is_no_http2_of_ours_ends_it() -> None:
    world = World()
    world.link.data_received(b"\xff" * 100)
    assert world.wire.aborted and not world.link.takes
    assert HELLO.startswith(frames.PREFACE)
