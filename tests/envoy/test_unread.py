"""What Envoy holds of answers that their clients do not read, on each version, and that what is whole still passes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import msgspec
import pytest

from extproc.demo.provider import ScriptedAnswer, sse_answer
from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE, block
from tests.support.binaries import CURRENT, binary
from tests.support.gateway import Backends, Gateway, gateway
from tests.support.raw import not_reading
from tests.support.upstream import chat, chat_chunk, events, eventually

MB = 1_000_000
ASKED, WHOLE = 1_900_000, 6 * MB
"""More than any of the small bounds; such a request needs no second process."""
LARGE = 18 * MB
"""More than a stream of HTTP/2 holds by Envoy's default."""
UNREAD = b'{"model":"gpt-5","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture(scope="module")
def _bounded(version: Path, shared: Backends) -> Iterator[Gateway]:
    with gateway(shared, "bounded", binary=version) as made:
        yield made


@pytest.fixture
def bounded(_bounded: Gateway) -> Iterator[Gateway]:
    _bounded.backends.reset()
    yield _bounded
    assert _bounded.envoy.alive(), _bounded.envoy.tail()


def stream_of(size: int) -> ScriptedAnswer:
    (one,) = events(chat_chunk(content="x" * 60_000))
    return sse_answer([one] * (size // 60_000))


def memory(gate: Gateway) -> int:
    """Bytes that Envoy holds now."""
    status, body = gate.envoy.admin("GET", "/memory")
    assert status == 200
    return int(msgspec.json.decode(body)["allocated"])


def test_an_unread_stream_is_held_to_a_bound_of_its_own(bounded: Gateway) -> None:
    before, clients, upstream = memory(bounded), 4, bounded.openai_upstream
    upstream.will(*[stream_of(30 * MB)] * clients)
    with ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(not_reading(bounded.envoy.port, UNREAD))
        assert eventually(lambda: len(upstream.received) == clients)
        time.sleep(3)  # without a bound all of it has come by then, and half as much again is held
        assert memory(bounded) - before < clients * 40 * MB


@pytest.mark.parametrize("http2", [False, True])
def test_what_is_whole_passes_in_either_direction(bounded: Gateway, http2: bool) -> None:
    with httpx2.Client(http1=not http2, http2=http2, base_url=bounded.url, timeout=60) as client:
        asked, said = "x" * ASKED, "y" * WHOLE
        for path in ("/v1/messages", "/v1/chat/completions"):
            bounded.openai_upstream.will(chat(said))
            body = {"model": "gpt-5", "max_tokens": 9, "messages": [{"role": "user", "content": asked}]}
            reply = client.post(path, json=body)
            assert reply.status_code == 200 and len(reply.content) > WHOLE, reply.text[:300]
            assert asked.encode() in bounded.openai_upstream.last.body
        bounded.openai_upstream.will(stream_of(WHOLE))
        reply = client.post("/v1/messages", content=UNREAD, headers={"content-type": "application/json"})
        assert reply.status_code == 200 and len(reply.content) > 0.99 * WHOLE


@pytest.mark.parametrize(("size", "times"), [(80 * MB, 1), (30 * MB, 2)])
def test_no_stream_that_nobody_reads_crashes_an_envoy_with_upstream_filters(
    shared: Backends, version: Path, size: int, times: int
) -> None:
    """What is longer than the listener holds ends before, also where a client asks again before it reads."""
    shared.reset()
    with gateway(shared, "upstream", binary=version, name="unread") as gate:
        shared.openai.will(*[stream_of(size)] * times)
        with not_reading(gate.envoy.port, UNREAD, times):
            assert eventually(lambda: len(shared.openai.received) == times) and shared.openai.idle(30)
            time.sleep(1)
            assert gate.envoy.alive()


def test_nor_do_many_answers_that_nobody_reads_on_one_connection(shared: Backends, version: Path) -> None:
    shared.reset()
    body, count = UNREAD.replace(b'"stream":true,', b""), 90
    with gateway(shared, "upstream", binary=version, name="unread-http2") as gate, socket.socket() as client:
        shared.openai.will(*[chat("y" * MB)] * count)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gate.envoy.port))
        most = 2**31 - 1
        client.sendall(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: most}))
        client.sendall(frames.window_update(0, most - 65535) + frames.frame(frames.SETTINGS, frames.ACK))
        head = block(
            (":method", "POST"), (":scheme", "http"), (":path", "/v1/messages"), (":authority", "x"),
            ("content-type", "application/json"), ("content-length", str(len(body))),
        )  # fmt: skip
        for stream in range(1, 2 * count, 2):
            asked = (EMPTY_TABLE if stream == 1 else b"") + head
            client.sendall(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, asked))
            client.sendall(frames.frame(frames.DATA, frames.END_STREAM, stream, body))
        flood = "http2.outbound_flood: 1"
        assert eventually(lambda: not gate.envoy.alive() or flood in gate.envoy.admin("GET", "/stats")[1].decode(), 30)
        assert gate.envoy.alive()


def test_a_long_answer_over_http2_before_an_upstream_filter(shared: Backends) -> None:
    shared.reset()
    with (
        gateway(shared, "upstream", binary=binary(CURRENT), name="http2") as gate,
        httpx2.Client(http1=False, http2=True, base_url=gate.url, timeout=60) as client,
    ):
        shared.openai.will(chat("y" * LARGE))
        body = {"model": "gpt-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x" * LARGE}]}
        reply = client.post("/v1/messages", json=body)
        assert reply.status_code == 200 and len(reply.content) > LARGE, reply.text[:300]
        shared.openai.will(stream_of(LARGE))
        with client.stream("POST", "/v1/messages", content=UNREAD, headers={"content-type": "application/json"}):
            assert shared.openai.idle(20)
            time.sleep(1)
            assert gate.envoy.alive(), "though the end has come, and nothing is read"
