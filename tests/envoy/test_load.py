"""Many streams at once, and large requests."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import time

import pytest

from extproc.demo import as_openai
from extproc.demo.provider import Gate, sse_answer
from tests.support.gateway import Gateway
from tests.support.upstream import chat, events, eventually, message_events, text_block

STREAMS = 2000
STALLED = 60.0
"""Seconds without another stream's coming."""
MEGABYTE = 1_000_000


@pytest.fixture
def many_files() -> None:
    """Sockets for both ends of every stream."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * STREAMS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed here, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def _stream(port: int, begun: asyncio.Semaphore) -> bytes:
    """One OpenAI client's stream, read to its end."""
    body = b'{"model": "claude-haiku-4-5", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    async with begun:  # the kernel's queue of new connections is short
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        await writer.drain()
        first = await reader.read(65536)
    rest = await reader.read(-1)
    writer.close()
    return first + rest


async def _streams(port: int, gate: Gate, ready: asyncio.Event) -> list[bytes]:
    begun = asyncio.Semaphore(200)
    tasks = [asyncio.create_task(_stream(port, begun)) for _ in range(STREAMS)]
    waiter = asyncio.create_task(ready.wait())
    await asyncio.wait({waiter, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    gate.set()
    waiter.cancel()
    return await asyncio.gather(*tasks)


def test_two_thousand_streams_at_once(envoy: Gateway, many_files: None) -> None:
    gate = Gate()
    first, *rest = events(*message_events(text_block("one", "two")))
    held = sse_answer([first, *rest[:2], gate, *rest[2:]])
    undo = envoy.anthropic_upstream.always(lambda request: held)
    most = 0

    async def run() -> list[bytes]:
        ready = asyncio.Event()

        async def watch() -> None:
            nonlocal most
            since = time.monotonic()
            while not ready.is_set():
                if (count := envoy.anthropic_upstream.open) > most:
                    most, since = count, time.monotonic()
                if most == STREAMS or time.monotonic() - since > STALLED:
                    ready.set()
                await asyncio.sleep(0.05)

        watcher = asyncio.create_task(watch())
        try:
            return await _streams(envoy.envoy.port, gate, ready)
        finally:
            gate.set()
            watcher.cancel()

    try:
        answers = asyncio.run(run())
    finally:
        gate.set()
        undo()
    wrong = [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200")]
    assert not wrong, f"{len(wrong)} were refused, such as {wrong[0][:300]!r}"
    assert most == STREAMS, "they were not all open at once"
    broken = [answer for answer in answers if b"[DONE]" not in answer or b'"two"' not in answer]
    assert not broken, f"{len(broken)} were not whole, such as {broken[0][-300:]!r}"
    active = "cluster.extproc.upstream_rq_active"
    assert eventually(lambda: sum(envoy.envoy.stats(active).values()) == 0)


def _image(size: int) -> str:
    return base64.b64encode(os.urandom(size * 3 // 4)).decode()


def test_twenty_megabytes_of_images_to_openai(envoy: Gateway) -> None:
    images = [_image(5 * MEGABYTE) for _ in range(4)]
    blocks = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": i}} for i in images]
    begun = time.monotonic()
    reply = envoy.messages("gpt-5", messages=[{"role": "user", "content": [*blocks, {"type": "text", "text": "hi"}]}])
    assert reply.status == 200, reply.body[:500]
    seen = envoy.openai_upstream.last
    assert len(seen.body) > 20 * MEGABYTE
    parts = seen.json()["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts[:-1]] == [f"data:image/png;base64,{image}" for image in images]
    assert time.monotonic() - begun < 20


def test_twenty_megabytes_of_images_to_anthropic(envoy: Gateway) -> None:
    images = [_image(5 * MEGABYTE) for _ in range(4)]
    parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in images]
    reply = envoy.chat("claude-haiku-4-5", messages=[{"role": "user", "content": parts}])
    assert reply.status == 200, reply.body[:500]
    blocks = envoy.anthropic_upstream.last.json()["messages"][0]["content"]
    assert [block["source"]["data"] for block in blocks] == images


def test_a_large_request_fails_over_whole(reference: Gateway) -> None:
    reference.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    text = "x" * (20 * MEGABYTE)
    reply = reference.messages("best", messages=[{"role": "user", "content": text}])
    assert reply.status == 200
    assert reference.anthropic_upstream.last.json()["messages"] == [{"role": "user", "content": text}]


def test_a_large_answer_does_not_kill_envoy(reference: Gateway) -> None:
    text = "x" * (30 * MEGABYTE)
    reference.openai_upstream.will(chat(text))
    reply = reference.messages("gpt-5")
    assert reply.status == 200 and reply.json["content"][0]["text"] == text


def test_a_long_stream_does_not_kill_envoy(reference: Gateway) -> None:
    piece = "x" * 100_000
    chunks = events(*message_events(text_block(*[piece] * 300)))
    reference.anthropic_upstream.will(sse_answer(chunks))
    reply = reference.chat("claude-haiku-4-5", stream=True)
    assert reply.status == 200 and not reply.broken
    assert reply.body.count(piece.encode()) == 300 and b"[DONE]" in reply.body
