"""What one peer says costs the others no more than a turn: work is counted, in calls of functions, not in time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from extproc.server.h2 import frames
from extproc.server.h2.heads import block
from extproc.server.h2.limits import LONG_MESSAGE, OWN_TURN, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.session import MAX_PUT_OFF, TURN_CALLS
from tests.conftest import IS_COMPILED

from .peer import ECHO, Caller, data, headers, rst

F = frames.frame
READ = 256 * 1024
"""Bytes that one read brings at most, about: asyncio's and uvloop's."""
MOST = 30_000
"""Calls of functions in a turn: some ten milliseconds."""
pytestmark = pytest.mark.skipif(IS_COMPILED, reason="calls of compiled functions are not seen")


def work(do: Callable[[], Any]) -> int:
    """How many functions are called."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def turns(peer: Caller, said: bytes) -> list[int]:
    """The work of each turn that *said* takes, as one read and as the shell goes on with it."""
    machine = peer.machine

    def written() -> None:
        while machine.output(0.0):
            pass

    def first() -> None:
        machine.receive(said, 0.0)
        written()

    def next_one() -> None:
        machine.proceed(0.0)
        written()

    counted = [work(first)]
    while machine.more:
        counted.append(work(next_one))
    return counted


def opened(count: int) -> bytes:
    return b"".join(headers(n) for n in range(3, 3 + 2 * count, 2))


FLOODS: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "WINDOW_UPDATE": lambda: (headers(3), frames.window_update(3, 1)),
    "WINDOW_UPDATE of the connection": lambda: (b"", frames.window_update(0, 1)),
    "RST of a stream that is over": lambda: (headers(3) + rst(3), rst(3)),
    "DATA of one byte": lambda: (headers(3), data(3, b"x")),
    "empty DATA": lambda: (headers(3), data(3)),
    "empty messages": lambda: (headers(3), data(3, prefixed(b"") * 3000)),
    "small messages": lambda: (headers(3), data(3, prefixed(b"x") * 2500)),
    "PING": lambda: (b"", F(frames.PING, 0, 0, bytes(8))),
    "PRIORITY": lambda: (b"", F(frames.PRIORITY, 0, 3, bytes(5))),
    "unknown frames": lambda: (b"", F(99)),
    "SETTINGS": lambda: (b"", frames.settings({})),
    "SETTINGS of many entries": lambda: (
        b"", F(frames.SETTINGS, payload=b"".join(frames.SETTING.pack(99, n) for n in range(900)))
    ),
    "SETTINGS with many streams": lambda: (opened(16_000), frames.settings({frames.INITIAL_WINDOW_SIZE: 65534})),
    "GOAWAY": lambda: (headers(3), frames.goaway(0, frames.Code.NO_ERROR)),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_a_turn_is_so_much_work_whatever_comes(name: str) -> None:
    before, again = FLOODS[name]()
    peer = Caller(H2Limits(max_concurrent_streams=20_000))
    turns(peer, before)
    counted = turns(peer, again * (READ // len(again)))
    # Where the bound is met, all of them are closed.
    assert max(counted) < (4 * MOST if "many streams" in name else MOST), counted[:5]


def test_many_new_streams_are_taken_in_turns() -> None:
    peer = Caller(H2Limits(max_concurrent_streams=20_000))
    counted = turns(peer, opened(16_000))
    assert max(counted) < 4 * MOST and len(counted) > 16_000 // H2Limits().turn_frames


def long_head(stream: int) -> bytes:
    """Of little more than a byte for each of its fields, and none like another."""
    named = (":method", "POST"), (":scheme", "http"), (":path", ECHO), ("content-type", "application/grpc")
    return F(frames.HEADERS, 4, stream, block(*named, ("x", str(stream))) + b"\x8f" * 650)


def test_many_fields_of_heads_are_decoded_in_turns() -> None:
    peer = Caller(H2Limits(max_concurrent_streams=20_000))
    counted = turns(peer, b"".join(long_head(stream) for stream in range(3, 603, 2)))
    assert len(counted) > 10 and max(counted) < 4 * MOST
    assert len(peer.answerers) == 300, "all of them are taken"


def test_many_calls_are_closed_some_at_a_time() -> None:
    peer = Caller(H2Limits(max_concurrent_streams=20_000))
    turns(peer, opened(5000))
    assert work(lambda: peer.machine.tick(20.0)) < 4 * MOST
    closed = sum(each.closed for each in peer.answerers)
    assert closed == TURN_CALLS
    left = 5000 - TURN_CALLS
    while not peer.machine.abandon(TURN_CALLS):
        left -= TURN_CALLS
        assert len(peer.machine._calls) == left
    assert all(each.closed == 1 for each in peer.answerers)


def long(stream: int, size: int = OWN_TURN + 1) -> bytes:
    whole = prefixed(bytes(size))
    return b"".join(data(stream, whole[at : at + 16384]) for at in range(0, len(whole), 16384))


def test_a_long_message_waits_behind_all_that_is_short_and_has_a_turn_of_its_own() -> None:
    peer = Caller()
    machine = peer.machine
    machine.receive(b"".join(headers(n) for n in (3, 5, 7, 9)), 0.0)
    for stream in (3, 5, 7):
        machine.receive(long(stream), 0.0)
    assert machine.more and not machine.is_behind, "what comes meanwhile is read"
    machine.receive(data(9, prefixed(b"hi")), 0.0)
    handled = [[len(each.received) for each in peer.answerers[-4:]]]
    while machine.more:
        machine.proceed(0.0)
        handled.append([len(each.received) for each in peer.answerers[-4:]])
    assert handled == [[0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]]


def test_a_long_message_takes_one_turn() -> None:
    peer = Caller()
    machine = peer.machine
    machine.receive(headers(3) + headers(5) + long(3) + long(5, LONG_MESSAGE + 1), 0.0)
    for left in (True, False):
        machine.proceed(0.0)
        assert machine.more is left and not machine.is_behind, "nothing of it is looked for again"
    assert [len(each.received) for each in peer.answerers] == [1, 1]


def test_what_is_slow_waits_like_what_is_long() -> None:
    peer = Caller()
    machine = peer.machine
    machine.receive(b"".join(headers(n) for n in (3, 5, 7)), 0.0)
    peer.answerers[0].is_slow = peer.answerers[1].is_slow = True
    machine.receive(b"".join(data(n, prefixed(b"hi")) for n in (3, 5, 7)), 0.0)
    handled = [[len(each.received) for each in peer.answerers]]
    for short in (True, False, True, False):
        machine.proceed(0.0, short=short)
        handled.append([len(each.received) for each in peer.answerers])
    assert handled == [[0, 0, 1], [0, 0, 1], [1, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert machine.long_turns == 2


def test_a_long_message_does_not_wait_for_ever() -> None:
    peer = Caller(H2Limits(turn_frames=1))
    machine = peer.machine
    machine.receive(headers(3), 0.0)
    while machine.more:
        machine.proceed(0.0)
    for part in range(0, LONG_MESSAGE + 20_000, 16384):
        machine.receive(data(3, (prefixed(bytes(LONG_MESSAGE + 1)))[part : part + 16384]), 0.0)
    machine.receive(F(frames.PING, 0, 0, bytes(8)) * 100, 0.0)
    rounds = 0
    while not peer.answerers[-1].received:
        machine.proceed(0.0)
        rounds += 1
    assert rounds <= 40 + MAX_PUT_OFF and machine.is_behind


def test_a_long_message_whose_call_ends_is_forgotten() -> None:
    peer = Caller()
    peer.machine.receive(headers(3) + long(3), 0.0)
    peer.machine.receive(rst(3), 0.0)
    assert not peer.machine.more and peer.answerers[-1].closed == 1
