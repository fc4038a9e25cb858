"""A connection over a transport that is watched: what is written when, and what is read meanwhile. With sockets it is
tried in ``test_shell``."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE
from extproc.server.h2.limits import OWN_TURN, Counters, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.protocol import WRITE_BUFFER, H2Protocol
from extproc.server.h2.shell import H2Listener
from tests.server.test_grpcio import run

from .peer import ECHO, HELLO, REQUEST, Echo, data, headers


class Watched:
    """A transport that keeps what is written, and says after each write that it takes no more, if it is *full*."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.written: list[bytes] = []
        self.is_full = False
        self.reads = True
        self.said: list[str] = []
        self.parts = 0
        """Of what was written last in parts."""

    def write(self, out: bytes) -> None:
        self.written.append(out)
        if self.is_full:
            self.protocol.pause_writing()

    def writelines(self, parts: list[bytes | memoryview]) -> None:
        self.parts = len(parts)
        self.write(b"".join(parts))

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == WRITE_BUFFER

    def get_write_buffer_size(self) -> int:
        return 1

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.said.append("eof")

    def abort(self) -> None:
        self.said.append("abort")

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        out, self.written = b"".join(self.written), []
        return frames.FrameReader().cut(out)


def made(
    limits: H2Limits | None = None, loop: asyncio.AbstractEventLoop | None = None
) -> tuple[Any, Watched, H2Listener]:
    listener = H2Listener({ECHO: Echo}, limits or H2Limits(), Counters())
    listener.loop = loop or asyncio.get_running_loop()
    protocol, transport = H2Protocol(listener), Watched()
    transport.protocol = protocol
    protocol.connection_made(cast(asyncio.Transport, transport))
    assert transport.frames()[0][0] == frames.SETTINGS
    protocol.data_received(HELLO + headers(1, block=EMPTY_TABLE + REQUEST))
    transport.frames()
    return protocol, transport, listener


def test_long_messages_that_are_quickly_done_share_a_turn() -> None:
    loop = asyncio.new_event_loop()
    loop.time = lambda: 1000.0  # type: ignore[method-assign]
    protocol, transport, listener = made(loop=loop)
    streams = range(3, 9, 2)
    protocol.data_received(b"".join(headers(each) for each in streams))
    transport.frames()
    # Behind a long one, so that none of them has its turn at once.
    listener.had_long_turn(0.0)
    for stream in streams:
        whole = prefixed(bytes(OWN_TURN + 1))
        protocol.data_received(data(stream, whole[:16384]) + data(stream, whole[16384:]))
    assert not [each for each in transport.frames() if each[0] == frames.DATA]
    assert protocol.take_turn() and not protocol.take_turn()
    assert {each[2] for each in transport.frames() if each[0] == frames.DATA} == set(streams)
    loop.close()


@run
async def test_what_comes_in_one_read_is_answered_in_one_write() -> None:
    protocol, transport, _ = made()
    protocol.data_received(data(1, prefixed(b"one") + prefixed(b"two")) + data(1, prefixed(b"three")))
    assert len(transport.written) == 1
    sent = b"".join(payload for kind, _, _, payload in transport.frames() if kind == frames.DATA)
    assert sent == prefixed(b"one") + prefixed(b"two") + prefixed(b"three")


@run
async def test_what_is_long_is_written_in_the_parts_that_it_has() -> None:
    protocol, transport, _ = made()
    protocol.data_received(data(1, prefixed(b"short")))
    assert transport.parts == 0
    transport.written.clear()
    window = frames.window_update(0, 10**6) + frames.window_update(1, 10**6)
    message = bytes(range(256)) * 600
    protocol.data_received(window + b"".join(data(1, part) for part in cut(prefixed(message))))
    assert transport.parts > len(message) // frames.MAX_FRAME_BYTES
    sent = b"".join(payload for kind, _, _, payload in transport.frames() if kind == frames.DATA)
    assert sent == prefixed(message)


def cut(message: bytes) -> list[bytes]:
    size = frames.MAX_FRAME_BYTES
    return [message[at : at + size] for at in range(0, len(message), size)]


@run
async def test_while_the_socket_takes_nothing_nothing_is_read_or_written() -> None:
    protocol, transport, _ = made()
    transport.is_full = True
    protocol.data_received(data(1, prefixed(b"one")))
    assert len(transport.written) == 1 and not transport.reads
    # What came before reading stopped.
    protocol.data_received(data(1, prefixed(b"two")))
    assert len(transport.written) == 1
    transport.is_full = False
    protocol.resume_writing()
    assert transport.reads and transport.frames()[-1][3] == prefixed(b"two")


@run
async def test_an_end_of_what_the_peer_says_closes_the_connection() -> None:
    protocol, _, _ = made()
    assert not protocol.eof_received(), "or asyncio would keep it half open"


@run
async def test_a_connection_that_we_end_hears_no_more() -> None:
    protocol, transport, _ = made()
    protocol.data_received(frames.frame(frames.PUSH_PROMISE, 0, 1, bytes(4)))
    assert transport.frames()[-1][0] == frames.GOAWAY and transport.said == ["eof"]
    protocol.data_received(data(1, prefixed(b"one")))
    protocol.flush()
    assert not transport.written and protocol.take_turn() is False


@run
async def test_a_socket_that_does_not_move_is_cut() -> None:
    protocol, transport, listener = made(H2Limits(stall_seconds=5.0))
    transport.is_full = True
    protocol.data_received(data(1, prefixed(b"one")))
    now = listener.loop.time()
    for seconds, said in ((1.0, []), (5.0, []), (6.5, ["abort"])):
        protocol.tick(now + seconds)
        assert transport.said == said
    assert listener.counters.abuse == {"stall_seconds": 1}


@run
async def test_a_connection_is_idle_while_no_call_is_open() -> None:
    protocol, _, listener = made()
    assert protocol.idle_since is None
    protocol.data_received(frames.rst_stream(1, frames.Code.CANCEL))
    assert protocol.idle_since is not None
    protocol.connection_lost(None)
    assert not listener.connections
