"""Our own filters in the mode FULL_DUPLEX_STREAMED, in both placements: what docs/envoy.md says of it under "What was
tried and is not done". It loses nothing but what stands there; bench/ says that it does not win."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from extproc.demo import as_openai
from extproc.demo.processes import Envoy
from extproc.demo.provider import Gate, sse_answer
from tests.support import placements
from tests.support.binaries import SAYS_LENGTHS, release
from tests.support.fully_duplex import PING, FullyDuplex, fully_duplex
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.raw import raw
from tests.support.upstream import chat, events, message_events, text_block

from .test_trailers import ENDED, WHOLE, TrailingUpstream


@pytest.fixture(scope="module", params=["one-stream", "upstream"])
def _duplex(request: pytest.FixtureRequest, shared: Backends) -> Iterator[tuple[Gateway, TrailingUpstream]]:
    folder = shared.new_folder("duplex")
    socket = shared.sidecar.socket
    assert socket is not None
    with ExitStack() as stack:
        service = stack.enter_context(FullyDuplex(socket, ping=0.5))
        config = configured(shared, request.param, folder / "access.log")
        trailing = stack.enter_context(closing(TrailingUpstream()))
        placements.add_model(config, "trailing", trailing.port, placements.OPENAI)
        options = placements.http_options(placements.clusters(config)["trailing"])
        options["explicit_http_config"] = {"http2_protocol_options": {}}
        made = fully_duplex(config, service.port, says_lengths=release() >= SAYS_LENGTHS)
        envoy = stack.enter_context(Envoy(folder, made))
        yield Gateway(request.param, envoy, shared, folder / "access.log"), trailing


@pytest.fixture
def duplex(_duplex: tuple[Gateway, TrailingUpstream]) -> Iterator[Gateway]:
    gateway, _ = _duplex
    gateway.backends.reset()
    yield gateway
    assert gateway.envoy.alive(), gateway.envoy.tail()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5", "fast"])
def test_answers(duplex: Gateway, model: str, stream: bool) -> None:
    chat, messages = duplex.chat(model, stream=stream), duplex.messages(model, stream=stream)
    assert chat.status == messages.status == 200
    if stream:
        assert chat.body.endswith(b"data: [DONE]\n\n") and b"event: message_stop" in messages.body[-80:]
    else:
        assert chat.json["object"] == "chat.completion" and messages.json["type"] == "message"


def test_a_length_is_said_where_envoy_can(duplex: Gateway) -> None:
    assert duplex.messages("gpt-5").status == 200
    seen = duplex.openai_upstream.last
    if release() >= SAYS_LENGTHS:
        assert seen.header("content-length") == str(len(seen.body))
    else:
        assert seen.header("content-length") is None and seen.header("transfer-encoding") == "chunked"


@pytest.mark.parametrize("ask", [Gateway.chat, Gateway.messages], ids=["chat", "messages"])
def test_refusals_and_errors(duplex: Gateway, ask: Any) -> None:
    for model, status in (("bad-provider", 500), ("unheard-of", 404)):
        reply = ask(duplex, model)
        assert reply.status == status and reply.json["error"]["message"], reply
    assert ask(duplex, "dead").status in (503, 529)
    duplex.openai_upstream.will(as_openai.failure(400, "no such parameter"))
    reply = ask(duplex, "gpt-5")
    assert (reply.status, reply.json["error"]["message"]) == (400, "no such parameter")


@pytest.mark.parametrize("model", ["gpt-5", "best"])
def test_retries_and_failover(duplex: Gateway, model: str) -> None:
    duplex.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    reply = duplex.messages(model)
    assert reply.status == 200 and reply.json["type"] == "message"
    first, *others = [*duplex.openai_upstream.received, *duplex.anthropic_upstream.received]
    assert len(others) == 1 and CLIENT_KEY not in repr([first, *others])
    own = KEYS["ANTHROPIC_API_KEY" if model == "best" else "OPENAI_API_KEY"]
    assert own in repr(others[0]) and not [key for key in KEYS.values() if key != own and key in repr(others[0])]


def test_answers_that_end_in_trailers(duplex: Gateway, _duplex: tuple[Gateway, TrailingUpstream]) -> None:
    _, upstream = _duplex
    upstream.chunks, upstream.content_type = WHOLE, "application/json"
    assert duplex.messages("trailing").json["content"] == [{"type": "text", "text": "hi"}]
    upstream.chunks, upstream.content_type = ENDED, "text/event-stream"
    reply = duplex.messages("trailing", stream=True)
    assert not reply.broken and reply.body.rstrip().endswith(b'{"type":"message_stop"}')


def test_bodies_beyond_what_envoy_holds(duplex: Gateway) -> None:
    """A request of 20 MB; an answer of 30, which crashes Envoy where the sidecar's cluster holds less."""
    reply = duplex.messages("gpt-5", messages=[{"role": "user", "content": "y" * 20_000_000}])
    assert reply.status == 200 and len(duplex.openai_upstream.last.body) > 20_000_000
    duplex.openai_upstream.will(chat("z" * 30_000_000))
    assert len(duplex.messages("gpt-5").json["content"][0]["text"]) == 30_000_000


def test_a_client_hears_from_us_while_a_model_thinks(duplex: Gateway) -> None:
    """The one thing that no other mode can: what nobody has sent goes to the client."""
    gate = Gate()
    first, *rest = events(*message_events(text_block("one", "two")))
    duplex.anthropic_upstream.will(sse_answer([first, gate, *rest]))
    response = duplex.begun()
    got, until = b"", time.monotonic() + 10
    while PING not in got and time.monotonic() < until:
        got += response.read1()
    gate.set()
    assert PING in got and (got + response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("head", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n"])
def test_who_is_refused_by_envoys_codec_gets_not_a_byte(duplex: Gateway, head: bytes) -> None:
    """In the modes of deploy/envoy.yaml they get a 400 and a 431: tests/envoy/test_beside_others.py."""
    assert raw(duplex.envoy.port, head) == (0, b"")
