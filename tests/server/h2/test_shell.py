"""Real sockets: grpcio as the client where it can be, a bare socket where no client would do such a thing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from extproc.server.h2 import frames, shell
from extproc.server.h2.frames import Code
from extproc.server.h2.heads import EMPTY_TABLE
from extproc.server.h2.health import SERVING, Health
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.protocol import H2Protocol
from extproc.server.h2.shell import H2Listener

from .peer import ECHO, HELLO, REQUEST, Echo, data, headers

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]

Started = Callable[..., Awaitable[tuple[H2Listener, str]]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on each kind of loop, with the seconds of the shell made short."""
    monkeypatch.setattr(shell, "TICK_SECONDS", 0.05)

    def runner(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as each:
            each.run(asyncio.wait_for(coroutine, 20))

    return runner


class Server:
    """A listener that echoes, and what it made."""

    def __init__(self, limits: H2Limits | None = None, max_connections: int = 100) -> None:
        self.counters = Counters()
        self.answerers: list[Echo] = []
        self.health = Health(("",))
        methods = {ECHO: self._echo, **self.health.methods()}
        self.listener = H2Listener(methods, limits or H2Limits(), self.counters, max_connections)

    def _echo(self, head: Any, outlet: Any) -> Echo:
        self.answerers.append(Echo(head, outlet))
        return self.answerers[-1]

    async def until(self, met: Callable[[], bool]) -> None:
        while not met():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(
    limits: H2Limits | None = None, address: str = "127.0.0.1:0", max_connections: int = 100
) -> AsyncIterator[tuple[Server, str]]:
    server = Server(limits, max_connections)
    where = await server.listener.listen(address)
    try:
        yield server, where
    finally:
        await server.listener.drain(0.5)
        await server.until(lambda: not server.listener.connections)


@contextlib.asynccontextmanager
async def talking(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare socket."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def connected(address: str) -> Any:
    """A channel; of no type, since grpc's own stubs want a serializer everywhere."""
    return grpc.aio.insecure_channel(address, options=OPTIONS)


async def echoed(channel: Any, *messages: bytes) -> None:
    call = channel.stream_stream(ECHO)()
    for message in messages:
        await call.write(message)
        assert await call.read() == message
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@contextlib.asynccontextmanager
async def calling(*streams: int) -> AsyncIterator[tuple[Server, asyncio.StreamReader, asyncio.StreamWriter, Any]]:
    """A bare socket with calls on *streams*, which are the last of the server's, beside somebody else's channel."""
    async with serving() as (server, where), talking(where) as (reader, writer), connected(where) as channel:
        await echoed(channel, b"here")
        writer.write(HELLO + b"".join(headers(n, block=b"\x20" + REQUEST) for n in streams))
        await server.until(lambda: len(server.answerers) == 1 + len(streams))
        yield server, reader, writer, channel


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_grpcio_as_the_client(run: Any, kind: str, tmp_path: Path) -> None:
    async def talk() -> None:
        address = "127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/socket"
        async with serving(address=address) as (server, where):
            async with connected(where) as channel:
                await echoed(channel, b"", b"x", bytes(20_000), b"y")
                await echoed(channel, bytes(3_000_000), bytes(3_000_000))
                await asyncio.gather(*(echoed(channel, b"a%d" % n, bytes(n * 100)) for n in range(100)))
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await channel.unary_unary("/test.Test/Nothing")(b"x")
                assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
                assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == SERVING
                gzipped = channel.unary_unary(ECHO)(b"x" * 1000, compression=grpc.Compression.Gzip)
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await gzipped
                assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert server.counters.connection_errors == server.counters.stream_errors == 0
            assert server.counters.header_cache_hits > 90
            await server.until(lambda: all(each.closed == 1 for each in server.answerers))

    run(talk())


def test_a_call_that_its_client_gives_up_is_closed(run: Any) -> None:
    async def talk() -> None:
        async with serving() as (server, where), connected(where) as channel:
            call = channel.stream_stream(ECHO)()
            await call.write(b"x")
            assert await call.read() == b"x"
            call.cancel()
            await server.until(lambda: server.answerers[0].closed == 1)
            await echoed(channel, b"still here")

    run(talk())


def test_a_lost_connection_closes_its_calls(run: Any) -> None:
    async def talk() -> None:
        async with serving() as (server, where):
            async with talking(where) as (_, writer):
                writer.write(HELLO + headers(1, block=EMPTY_TABLE + REQUEST))
                await server.until(lambda: len(server.answerers) == 1)
            await server.until(lambda: server.answerers[0].closed == 1 and not server.listener.connections)

    run(talk())


def test_a_drain_lets_open_calls_end_and_takes_no_new_ones(run: Any) -> None:
    async def talk() -> None:
        server = Server()
        where = await server.listener.listen("127.0.0.1:0")
        async with connected(where) as channel:
            call = channel.stream_stream(ECHO)()
            await call.write(b"before")
            assert await call.read() == b"before"
            draining = asyncio.ensure_future(server.listener.drain(10))
            await asyncio.sleep(0.2)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary(ECHO)(b"new")
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            await call.write(b"during")
            assert await call.read() == b"during"
            assert not draining.done()
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK
            await asyncio.wait_for(draining, 5)
        assert [each.closed for each in server.answerers] == [1]

    run(talk())


def test_a_drain_ends_in_time(run: Any) -> None:
    async def talk() -> None:
        server = Server()
        where = await server.listener.listen("127.0.0.1:0")
        async with connected(where) as channel:
            call = channel.stream_stream(ECHO)()
            await call.write(b"x")
            assert await call.read() == b"x"
            await server.listener.drain(0.2)
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        await server.until(lambda: server.answerers[0].closed == 1)

    run(talk())


def test_a_watch_hears_of_the_drain(run: Any) -> None:
    async def talk() -> None:
        server = Server()
        where = await server.listener.listen("127.0.0.1:0")
        async with connected(where) as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
            assert await watch.read() == SERVING
            server.health.stop()
            server.listener.flush()
            assert await watch.read() != SERVING
            await asyncio.wait_for(server.listener.drain(10), 5)
            assert await watch.read() is grpc.aio.EOF

    run(talk())


async def frames_of(reader: asyncio.StreamReader) -> list[tuple[int, int, int, bytes]]:
    """All frames until the connection ends."""
    return frames.FrameReader().cut(await reader.read())


def test_who_speaks_something_else_is_told_and_cut(run: Any) -> None:
    async def talk() -> None:
        async with serving() as (server, where), talking(where) as (reader, writer):
            # More than the server reads before it knows: its GOAWAY must get through all the same.
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" + bytes(300_000))
            *_, (kind, _, _, payload) = await frames_of(reader)
            assert kind == frames.GOAWAY and payload[4:8] == Code.PROTOCOL_ERROR.to_bytes(4, "big")
            assert server.counters.connection_errors == 1

    run(talk())


def test_a_slow_preface_is_cut(run: Any) -> None:
    async def talk() -> None:
        limits = H2Limits(handshake_seconds=0.2)
        async with serving(limits) as (server, where), talking(where) as (reader, writer):
            writer.write(frames.PREFACE[:5])
            assert (await frames_of(reader))[-1][0] == frames.GOAWAY
            assert server.counters.abuse == {"handshake_seconds": 1}

    run(talk())


OPEN_WIDE = frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31 - 1}) + frames.window_update(0, 2**31 - 1 - 65535)


def test_a_reader_that_stalls_stops_only_itself_and_is_cut(run: Any) -> None:
    async def talk() -> None:
        limits = H2Limits(stall_seconds=0.5)
        async with serving(limits) as (server, where), talking(where) as (_, writer):
            writer.write(HELLO + OPEN_WIDE + headers(1, block=EMPTY_TABLE + REQUEST))
            wire = data(1, prefixed(bytes(16_000)))
            others = 0
            while not server.counters.abuse:
                try:
                    writer.write(wire)
                    await asyncio.wait_for(writer.drain(), 0.05)
                except ConnectionError:
                    break
                except TimeoutError:
                    async with connected(where) as channel:
                        await echoed(channel, b"not held up")
                        others += 1
            await server.until(lambda: bool(server.counters.abuse))
            assert server.counters.abuse == {"stall_seconds": 1}
            assert others
            # What was taken is what sockets hold, and no more.
            assert len(server.answerers[0].received) * 16_000 < 20_000_000
            await server.until(lambda: server.answerers[0].closed == 1)

    run(talk())


def test_a_slow_reader_gets_everything(run: Any) -> None:
    async def talk() -> None:
        async with serving() as (server, where), talking(where) as (reader, writer):
            count, message = 1000, prefixed(bytes(range(250)) * 60)
            writer.write(HELLO + OPEN_WIDE + headers(1, block=EMPTY_TABLE + REQUEST))

            async def say() -> None:
                for _ in range(count):
                    writer.write(data(1, message))
                    await writer.drain()
                writer.write(data(1, end=True))

            saying = asyncio.ensure_future(say())
            await asyncio.sleep(0.3)
            cutter, heard, ended = frames.FrameReader(), [], False
            while not ended:
                for kind, flags, stream_id, payload in cutter.cut(await reader.read(200_000)):
                    if kind == frames.DATA:
                        heard.append(payload)
                    ended = ended or bool(stream_id and kind == frames.HEADERS and flags & frames.END_STREAM)
            await saying
            assert b"".join(heard) == message * count
            assert server.counters.abuse == {}

    run(talk())


def test_addresses_that_cannot_be_had(run: Any, tmp_path: Path) -> None:
    async def talk() -> None:
        async with serving() as (_, where):
            with pytest.raises(OSError):
                await Server().listener.listen(where)
        with pytest.raises(OSError):
            await Server().listener.listen(f"unix:{tmp_path}/missing/socket")

    run(talk())


def test_a_socket_file_that_was_left_behind_is_replaced(run: Any, tmp_path: Path) -> None:
    async def talk() -> None:
        address = f"unix:{tmp_path}/socket"
        async with serving(address=address):
            pass
        async with serving(address=address) as (_, where), connected(where) as channel:
            await echoed(channel, b"x")

    run(talk())


def test_a_socket_file_goes_with_its_process(run: Any, tmp_path: Path) -> None:
    async def talk() -> None:
        path = tmp_path / "socket"
        async with serving(address=f"unix:{path}"):
            assert path.is_socket()
        assert not path.exists()
        async with serving(address=f"unix:{path}"):
            path.unlink()
            path.write_text("another's")
        assert path.read_text() == "another's"

    run(talk())


def test_the_socket_of_a_living_process_is_not_taken(run: Any, tmp_path: Path) -> None:
    async def talk() -> None:
        address = f"unix:{tmp_path}/socket"
        async with serving(address=address) as (_, where):
            with pytest.raises(OSError, match="another process listens there"):
                await Server().listener.listen(address)
            async with connected(where) as channel:
                await echoed(channel, b"x")

    run(talk())


def test_a_socket_file_that_a_dead_process_left_is_replaced(run: Any, tmp_path: Path) -> None:
    async def talk() -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"{tmp_path}/socket")
            dead.listen()
        async with serving(address=f"unix:{tmp_path}/socket") as (_, where), connected(where) as channel:
            await echoed(channel, b"x")

    run(talk())


def test_the_next_connection_is_closed_at_once(run: Any) -> None:
    async def talk() -> None:
        async with (
            serving(max_connections=2) as (server, where),
            talking(where) as (first, busy),
            talking(where) as (_, too),
        ):
            for each in (busy, too):
                each.write(HELLO + headers(1, block=b"\x20" + REQUEST))
            await server.until(lambda: len(server.answerers) == 2)
            async with talking(where) as (reader, writer):
                writer.write(HELLO)
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            assert server.counters.abuse == {"max_connections": 1} and server.counters.connections == 2
            assert await first.read(1)
            for connection in list(server.listener.connections):
                connection.abort()
            await server.until(lambda: not server.listener.connections)
            async with connected(where) as channel:
                await echoed(channel, b"room again")

    run(talk())


def test_for_the_next_connection_the_idlest_gives_way(run: Any) -> None:
    async def talk() -> None:
        async with (
            serving(max_connections=3) as (_, where),
            connected(where) as channel,
            talking(where) as (idle, first),
            talking(where) as (other, second),
        ):
            call = channel.stream_stream(ECHO)()
            await call.write(b"busy")
            assert await call.read() == b"busy"
            for writer in (first, second):
                writer.write(HELLO)
            await idle.read(1)
            await other.read(1)
            second.write(frames.frame(frames.PING, 0, 0, bytes(8)))
            await asyncio.sleep(0.1)
            async with connected(where) as another:
                await echoed(another, b"let in")
            with contextlib.suppress(ConnectionError):
                while await idle.read(1000):
                    pass
            await call.write(b"still")
            assert await call.read() == b"still"

    run(talk())


FLOODS = {
    "DATA of one byte": frames.frame(frames.DATA, 0, 1, b"\0") * 15_000,
    "empty messages": frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\0" * 900),
    "messages": frames.frame(frames.DATA, 0, 1, prefixed(b"x") * 2500) * 10,
    "WINDOW_UPDATE": frames.frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 20_000,
    "RST of a stream that is over": frames.frame(frames.RST_STREAM, 0, 1, bytes(4)) * 20_000,
    "unknown": frames.frame(99) * 9000,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_no_flood_makes_others_wait(run: Any, flood: str) -> None:
    async def talk() -> None:
        async with serving() as (_, where), contextlib.AsyncExitStack() as stack:
            channel = await stack.enter_async_context(connected(where))
            await echoed(channel, b"here")
            writers = [(await stack.enter_async_context(talking(where)))[1] for _ in range(3)]
            for writer in writers:
                writer.write(HELLO + headers(1, block=b"\x20" + REQUEST) + FLOODS[flood])
            turns = []
            proceed = H2Protocol.take_turn

            def timed(self: Any, **how: bool) -> bool:
                began = time.thread_time()
                was_long = proceed(self, **how)
                turns.append(time.thread_time() - began)
                return was_long

            H2Protocol.take_turn = timed  # type: ignore[method-assign]
            try:
                await asyncio.sleep(0.2)
                await echoed(channel, b"there")
            finally:
                H2Protocol.take_turn = proceed  # type: ignore[method-assign]
            # Python may collect its garbage in one of them.
            assert turns and sum(turn >= 0.05 for turn in turns) <= 1

    run(talk())


def test_between_two_slow_turns_an_exchange_of_somebody_elses_comes_to_its_end(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    # A rest that an exchange fits into on a busy machine, too.
    monkeypatch.setattr(shell, "REST_SHARE", 15.0)

    async def talk() -> None:
        async with calling(1, 3, 5) as (server, reader, writer, channel):

            def slow(message: bytes) -> list[bytes]:
                time.sleep(2 * shell.SLOW_TURN)
                order.append("slow")
                return []

            for each in server.answerers[1:]:
                each.is_slow, each.receive = True, slow  # type: ignore[method-assign]
            writer.write(b"".join(frames.frame(frames.DATA, 0, n, prefixed(b"x")) for n in (1, 3, 5)))
            await server.until(lambda: bool(order))
            await echoed(channel, *[b"there"] * 5)
            order.append("others")
            await server.until(lambda: len(order) == 4)
            assert reader is not None

    run(talk())
    assert order.index("others") <= 2, "behind one of them, or the one that had begun"


def test_what_is_long_has_its_turn_at_once_where_nobody_waits(run: Any) -> None:
    queued: list[str] = []
    order: list[str] = []

    async def talk() -> None:
        async with calling(1, 3, 5) as (server, _, writer, channel):
            queue = server.listener.queue

            def seen(connection: H2Protocol, *, is_behind: bool) -> None:
                queued.append("behind" if is_behind else "long")
                queue(connection, is_behind=is_behind)

            server.listener.queue = seen  # type: ignore[method-assign]
            for each in server.answerers[1:]:
                each.is_slow = True
                each.receive = lambda message: order.append(str(message, "ascii")) or []  # type: ignore[method-assign, func-returns-value]
            writer.write(data(1, prefixed(b"1")))
            await server.until(lambda: len(order) == 1)
            assert not queued, "no turn is waited for"
            server.listener.had_long_turn(server.listener.loop.time() - 1000.0)
            writer.write(data(3, prefixed(b"3")))
            await echoed(channel, b"there")
            assert order == ["1"] and queued, "one that has just been heard rests"

    run(talk())


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(
    ("listening", "asked"),
    [("[::1]", ["[::1]"]), ("[::]", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["[::1]", "127.0.0.1"])],
)
def test_addresses_of_both_families(run: Any, listening: str, asked: list[str]) -> None:
    async def talk() -> None:
        async with serving(address=f"{listening}:0") as (_, where):
            host, _, port = where.rpartition(":")
            assert host == listening
            for each in asked:
                async with connected(f"{each}:{port}") as channel:
                    await echoed(channel, b"x")

    run(talk())


@pytest.mark.parametrize("lacks", ["protocol", "address"])
def test_without_ipv6_everywhere_is_ipv4(run: Any, monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "no such address")

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: lacks == "address")
    monkeypatch.setattr(socket, "create_server", refuse)

    async def talk() -> None:
        async with serving(address="[::]:0") as (_, where), connected(f"127.0.0.1:{where[5:]}") as channel:
            await echoed(channel, b"x")

    run(talk())


def test_a_bug_in_one_connection_leaves_the_others_their_timer(
    run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk() -> None:
        limits = H2Limits(handshake_seconds=0.4)
        async with serving(limits) as (server, where), talking(where), talking(where) as (reader, writer):
            await server.until(lambda: len(server.listener.connections) == 2)
            first = next(iter(server.listener.connections))
            ticked = H2Protocol.tick
            monkeypatch.setattr(H2Protocol, "tick", lambda self, now: 1 / 0 if self is first else ticked(self, now))
            await server.until(lambda: len(server.listener.connections) == 1)
            writer.write(frames.PREFACE[:5])
            assert (await frames_of(reader))[-1][0] == frames.GOAWAY

    caplog.set_level(logging.ERROR)
    run(talk())
    assert "a bug in a connection" in caplog.text


def test_who_connects_during_a_drain_is_told(run: Any) -> None:
    async def talk() -> None:
        async with serving() as (server, where):
            server.listener.draining = True
            async with talking(where) as (reader, _):
                assert (await frames_of(reader))[-1][0] == frames.GOAWAY

    run(talk())
