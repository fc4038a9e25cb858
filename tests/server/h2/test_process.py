"""A session that asks for something, on our own transport: what comes meanwhile, and what becomes of it at the end."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import cast

from extproc.effects import Ask, Awaited, Result
from extproc.server.effects import Effects
from extproc.server.h2.heads import Head
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.process import ProcessCall
from extproc.server.h2.session import Outlet
from extproc.server.h2.shell import H2Listener
from extproc.server.service import MessageSession, TooMuchHeld
from extproc.settings import Settings
from tests.server.test_grpcio import run

from .peer import ECHO, Caller, data, decoded, headers, rst


class Slow:
    """A session that asks at its first message, and answers all that it was given when it is resumed."""

    is_slow = False

    def __init__(self, room: int = 9) -> None:
        self.over: Future[None] = Future()
        self.asks: Ask | None = None
        self.held: list[bytes] = []
        self.room = room
        self.closed = 0

    def receive(self, message: bytes) -> list[bytes]:
        self.held.append(message)
        if len(self.held) > self.room:
            raise TooMuchHeld("too many bytes wait to be handled")
        if self.asks is None:
            self.asks = Ask(Awaited(self.over, 5.0), 1, 5.0)
        return []

    def receive_parts(self, parts: list[bytes]) -> list[bytes]:
        return self.receive(b"".join(parts))

    def resume(self, ask: Ask, result: Result) -> list[bytes]:
        self.asks = None
        return [b"answer to " + message for message in self.held if message != b"bug" or 1 // 0]

    def close(self) -> None:
        self.closed += 1


async def held(session: Slow, first: bytes = b"first") -> Caller:
    listener = H2Listener({}, H2Limits(), Counters())
    listener.loop = asyncio.get_running_loop()

    def made(head: Head, outlet: Outlet) -> ProcessCall:
        return ProcessCall(cast(MessageSession, session), outlet, listener, Effects(Settings()))

    peer = Caller(methods={ECHO: made})
    peer.say(headers(3), data(3, prefixed(first)))
    assert peer.hear() == []
    return peer


@run
async def test_what_comes_meanwhile_is_answered_in_order() -> None:
    session = Slow()
    peer = await held(session)
    peer.say(data(3, prefixed(b"second")))
    assert peer.hear() == []
    session.over.set_result(None)
    await asyncio.sleep(0.05)
    payload = b"".join(frame.payload for frame in peer.hear()[1:])
    assert payload == prefixed(b"answer to first") + prefixed(b"answer to second")


@run
async def test_what_is_held_back_is_bounded() -> None:
    session = Slow(room=5)
    peer = await held(session)
    peer.say(data(3, prefixed(b"") * 20))
    assert decoded(peer.hear()[0].payload)["grpc-status"] == "8"
    assert session.closed == 2, "the first stream of the peer was closed before"


@run
async def test_a_bug_in_what_was_held_back_ends_the_call() -> None:
    session = Slow()
    peer = await held(session, b"bug")
    session.over.set_result(None)
    await asyncio.sleep(0.05)
    assert decoded(peer.hear()[0].payload)["grpc-status"] == "13"


@run
async def test_a_call_that_ends_meanwhile_lets_go_of_what_it_asked() -> None:
    before = asyncio.all_tasks()
    session = Slow()
    peer = await held(session)
    assert len(asyncio.all_tasks()) == len(before) + 1
    peer.say(rst(3))
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before and session.closed == 2 and not session.over.cancelled()
