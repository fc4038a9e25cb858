"""A service that a policy asks, and that never answers, beside a thousand streams: how far each of them has come, and
that their events take no longer than before it hung."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Gate, sse_answer
from tests.support import placements
from tests.support.gateway import KEYS, Backends, Gateway, configured
from tests.support.side_service import SideService
from tests.support.upstream import ScriptedUpstream, events, message_events, text_block

STREAMS = 1000
HANGING = 20
PIECES = 7
CALM = 3
"""So many pieces come before the service hangs."""
PATIENCE = 600
"""Seconds: whatever hangs does so for longer than the test takes."""
STALLED = 60.0
"""Seconds without any stream's coming further."""
TIMES, MORE = 3.0, 0.5
"""What the machine alone may add to the 99th percentile of an event's delay, whoever else is at work on it: times, and
seconds. Whoever waited for the service would wait PATIENCE."""


@pytest.fixture(scope="module")
def many_files() -> None:
    """Sockets for both ends of every stream."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 6 * STREAMS
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"{wanted} open files are needed"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@pytest.fixture(scope="module")
def side() -> Iterator[SideService]:
    service = SideService(PATIENCE)
    service.answer = lambda asked: b'{"flagged": false}'
    yield service
    service.close()


@pytest.fixture(scope="module")
def gateway(many_files: None, side: SideService, tmp_path_factory: Any) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("h")
    with ExitStack() as stack:
        first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(first)
        stack.enter_context(second)
        options = ("--admin", "127.0.0.1:0", "--max-wait-seconds", str(PATIENCE))
        sidecar = stack.enter_context(Sidecar(folder, environ=KEYS, arguments=options))
        shared = Backends(folder, sidecar, first, second)
        config = configured(shared, "listener", folder / "access.log")
        asks = f"policies: [{{moderation: {{endpoint: '{side.url}', timeout: {PATIENCE}}}}}]\n"
        placements.add_route(config, "moderated", "openai", placements.OPENAI + asks)
        for each in placements.manager(config)["http_filters"]:
            if "max_message_timeout" in each["typed_config"]:
                each["typed_config"] |= {"message_timeout": "60s", "max_message_timeout": f"{2 * PATIENCE}s"}
        yield Gateway("listener", stack.enter_context(Envoy(folder, config)), shared, folder / "access.log")


@asynccontextmanager
async def asked(port: int, model: str, stream: bool) -> AsyncIterator[asyncio.StreamReader]:
    """What an OpenAI client reads. It closes when the server is done."""
    messages = [{"role": "user", "content": "hi"}]
    body = msgspec.json.encode({"model": model, "stream": stream, "messages": messages})
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        yield reader
    finally:
        writer.close()


class Progress:
    """How many of the streams have read each piece."""

    def __init__(self) -> None:
        self.read: Counter[int] = Counter()
        self.let_go: dict[int, float] = {}
        """When each piece was let go."""
        self.delays: dict[int, list[float]] = {}
        """How long it then took to each of the streams."""

    async def follow(self, port: int, begun: asyncio.Semaphore) -> bytes:
        """One stream to its end."""
        async with begun:  # the kernel's queue of new connections is short
            opened = asked(port, "claude-haiku-4-5", True)
            reader = await opened.__aenter__()
        try:
            got, piece = b"", 0
            while chunk := await reader.read(65536):
                got += chunk
                while f"piece-{piece}".encode() in got:
                    self.read[piece] += 1
                    if piece in self.let_go:
                        self.delays.setdefault(piece, []).append(time.monotonic() - self.let_go[piece])
                    piece += 1
            return got
        finally:
            await opened.__aexit__(None, None, None)

    async def all_have(self, piece: int) -> None:
        """Wait for it, for as long as any stream still comes further."""
        last, since = -1, time.monotonic()
        while self.read[piece] < STREAMS:
            if self.read[piece] != last:
                last, since = self.read[piece], time.monotonic()
            assert time.monotonic() - since < STALLED, f"{last} of {STREAMS} streams have piece {piece}"
            await asyncio.sleep(0.02)

    def p99(self, pieces: range) -> float:
        """Of the delays of each of these, the least, in seconds: whoever else is at work on the machine delays one of
        them, and the service would delay all."""
        return min(sorted(self.delays[piece])[STREAMS * 99 // 100] for piece in pieces)


async def whole(port: int) -> bytes:
    async with asked(port, "moderated", False) as reader:
        return await reader.read(-1)


@pytest.mark.rows("B32")
def test_a_service_that_hangs_holds_no_stream_of_a_thousand(gateway: Gateway, side: SideService) -> None:
    gates = [Gate() for _ in range(PIECES - 1)]
    wire = events(*message_events(text_block(*(f"piece-{at} " for at in range(PIECES)))))
    chunks: list[bytes | Gate] = []
    for each in wire:
        chunks.append(each)
        chunks += [gate for at, gate in enumerate(gates) if b"piece-%d " % at in each]
    undo = gateway.anthropic_upstream.always(lambda request: sse_answer(chunks))
    port = gateway.envoy.port

    async def run() -> tuple[list[bytes], list[bytes]]:
        progress, begun = Progress(), asyncio.Semaphore(100)
        streams = [asyncio.create_task(progress.follow(port, begun)) for _ in range(STREAMS)]
        await progress.all_have(0)
        stuck: list[asyncio.Task[bytes]] = []
        for piece, gate in enumerate(gates, 1):
            if piece == CALM + 1:
                side.gate.clear()
                stuck += [asyncio.create_task(whole(port)) for _ in range(HANGING)]
                since = time.monotonic()
                while len(side.asked) < HANGING:
                    assert time.monotonic() - since < STALLED
                    await asyncio.sleep(0.02)
            progress.let_go[piece] = time.monotonic()
            gate.set()
            await progress.all_have(piece)
        before, beside = progress.p99(range(1, CALM + 1)), progress.p99(range(CALM + 1, PIECES))
        assert beside <= TIMES * before + MORE, f"p99 of an event's delay: {before:.3f} s before, {beside:.3f} s beside"
        answers = await asyncio.gather(*streams)
        assert not any(task.done() for task in stuck), "they wait for their service still"
        side.gate.set()
        return answers, await asyncio.gather(*stuck)

    try:
        answers, held = asyncio.run(run())
    finally:
        for gate in gates:
            gate.set()
        side.gate.set()
        undo()
    assert all(answer.startswith(b"HTTP/1.1 200") and b"[DONE]" in answer for answer in answers)
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in held), "and go on when it answers"
    assert gateway.envoy.alive() and gateway.backends.sidecar.alive()
