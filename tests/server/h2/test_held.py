"""Messages that come while their session waits for a token."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import cast

from extproc.server.h2.heads import Head
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.session import Outlet
from extproc.server.h2.shell import H2Listener
from extproc.server.h2.transport import _Process
from extproc.server.service import Session
from tests.server.test_grpcio import run

from .peer import ECHO, Caller, data, decoded, headers


class Slow:
    """A session that waits; its *answers* to one message."""

    def __init__(self, *answers: bytes) -> None:
        self.waits: Future[None] = Future()
        self.answers = answers
        self.closed = 0

    def receive(self, message: bytes) -> list[bytes]:
        if not self.answers:
            raise ZeroDivisionError
        return list(self.answers)

    def close(self) -> None:
        self.closed += 1


async def held(session: Slow) -> tuple[Caller, H2Listener]:
    listener = H2Listener({}, H2Limits(), Counters())
    listener.loop = asyncio.get_running_loop()

    def made(head: Head, outlet: Outlet) -> _Process:
        return _Process(cast(Session, session), outlet, listener, 1000)

    peer = Caller(methods={ECHO: made})
    peer.say(headers(3), data(3, prefixed(b"message")))
    assert peer.hear() == []
    return peer, listener


@run
async def test_what_is_held_back_is_bounded() -> None:
    session = Slow(b"answer")
    peer, _ = await held(session)
    peer.say(data(3, prefixed(b"") * 20))
    assert decoded(peer.hear()[0].payload)["grpc-status"] == "8"
    assert session.closed == 2, "the first stream of the peer was closed before"


@run
async def test_a_bug_in_what_was_held_back_ends_the_call() -> None:
    session = Slow()
    peer, _ = await held(session)
    session.waits.set_result(None)
    await asyncio.sleep(0.05)
    assert decoded(peer.hear()[0].payload)["grpc-status"] == "13"
