"""What both roles share: the phases, errors of our own, and that nothing is ever raised."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects import REGISTRY
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.incoming import Incoming, read
from extproc.exchange.machine import Exchange
from extproc.exchange.phases import Kind, Phase
from extproc.exchange.router import Router
from extproc.exchange.translator import Translator
from extproc.llm.failures import ErrorKind
from extproc.telemetry.outcome import Ending
from extproc.translation.translation import Translation

from .conversation import ANTHROPIC, OPENAI, Conversation, leaf, shared

ROLES: list[type[Exchange]] = [Translator, Router]
MESSAGES: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def begun(role: type[Exchange] = Translator, path: str = "/v1/messages") -> Conversation:
    envoy = Conversation(role(shared()))
    envoy.headers(path, attributes=leaf(ANTHROPIC))
    return envoy


@pytest.mark.parametrize("role", ROLES)
def test_no_message_no_answer(role: type[Exchange]) -> None:
    assert role(shared()).receive(Incoming()) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_refusal_of_everything(role: type[Exchange]) -> None:
    exchange = role(shared(), (ErrorKind.OVERLOADED, "the gateway is overloaded", "overloaded"))
    envoy = Conversation(exchange)
    envoy.headers("/v1/messages", attributes=leaf(ANTHROPIC))
    assert envoy.immediate is not None
    status, _, error, details = envoy.immediate
    assert (status, details) == (529, "extproc_overloaded")
    assert error["error"] == {"type": "overloaded_error", "message": "the gateway is overloaded"}
    assert envoy.body(MESSAGES) is None, "it is over"
    assert envoy.close().ending is Ending.REFUSED


@pytest.mark.parametrize("role", ROLES)
def test_a_filter_that_does_not_buffer_requests(role: type[Exchange]) -> None:
    exchange = role(shared())
    message = ProcessingRequest()
    message.request_headers.headers.headers.add(key=":path", raw_value=b"/v1/messages")
    message.protocol_config.request_body_mode = 1  # type: ignore[assignment]
    (made,) = exchange.receive(read(message.SerializeToString()))
    answer = ProcessingResponse.FromString(made.encoded())
    assert answer.immediate_response.status.code == 500
    assert b"BUFFERED" in answer.immediate_response.body


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Kind.REQUEST_BODY, "request_header_mode"),
        (Kind.RESPONSE_BODY, "response_header_mode"),
        (Kind.REQUEST_TRAILERS, "request_header_mode"),
    ],
)
@pytest.mark.parametrize("role", ROLES)
def test_a_filter_that_skips_what_is_needed(role: type[Exchange], kind: Kind, says: str) -> None:
    exchange = role(shared())
    message = ProcessingRequest()
    getattr(message, kind.value).SetInParent()
    (made,) = exchange.receive(read(message.SerializeToString()))
    answer = ProcessingResponse.FromString(made.encoded())
    assert answer.immediate_response.status.code == 500
    assert answer.immediate_response.details == "extproc_misconfigured"
    assert says in answer.immediate_response.body.decode()


def test_an_upstreams_answer_to_what_was_never_seen_does_not_pass_untranslated() -> None:
    envoy = Conversation()
    envoy.answer(200, {"content-type": "application/json"})
    assert envoy.immediate is not None and envoy.immediate[0] == 500
    assert "request_header_mode" in envoy.immediate[2]["error"]["message"]


@pytest.mark.replaces_code
def test_a_bug_in_a_request_is_the_clients_own_500(monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    envoy = begun()
    monkeypatch.setattr(Translation, "request", lambda *args: 1 / 0)
    envoy.body(MESSAGES)
    assert envoy.immediate is not None
    status, _, error, details = envoy.immediate
    assert (status, details) == (500, "extproc_internal_error")
    assert error["type"] == "error" and "division" not in str(error)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.replaces_code
def test_a_bug_in_a_stream_breaks_it_visibly(monkeypatch: Any) -> None:
    envoy = begun()
    envoy.body({**MESSAGES, "stream": True})
    envoy.answer(200, {"content-type": "text/event-stream"})
    monkeypatch.setattr(Translation, "response_body", lambda *args, **more: 1 / 0)
    assert envoy.chunk(b"data: x\n\n") == b""
    assert envoy.immediate is not None
    assert envoy.close().ending is Ending.CUT


@pytest.mark.replaces_code
def test_a_bug_in_a_whole_answer_is_an_error(monkeypatch: Any) -> None:
    envoy = begun()
    envoy.body(MESSAGES)
    monkeypatch.setattr(Translation, "response_head", lambda *args: 1 / 0)
    envoy.answer(200, {"content-type": "application/json"})
    assert envoy.immediate is not None and envoy.immediate[2]["type"] == "error"
    assert envoy.close().ending is Ending.FAILED


@pytest.mark.replaces_code
def test_a_bug_in_the_record_does_not_lose_the_answer(monkeypatch: Any) -> None:
    envoy = begun()
    monkeypatch.setattr(Translator, "facts", lambda self: 1 / 0)
    envoy.body(b"{")
    assert envoy.immediate is not None and envoy.immediate[0] == 400


def test_every_client_gets_its_own_shape() -> None:
    shapes = {name: begun(path=dialect.paths[0]) for name, dialect in REGISTRY.items() if dialect.paths}
    for name, envoy in shapes.items():
        envoy.body(b"{")
        assert envoy.immediate is not None and envoy.immediate[0] == 400, name
        assert "message" in str(envoy.immediate[2])


MESSAGE_KINDS = st.lists(st.sampled_from(list(Kind)), max_size=8)


@given(kinds=MESSAGE_KINDS, role=st.sampled_from(ROLES), seed=st.integers(0, 2**32), text=st.sampled_from([OPENAI, ""]))
def test_no_order_of_messages_raises_and_each_is_answered_in_kind_or_for_good(
    kinds: list[Kind], role: type[Exchange], seed: int, text: str
) -> None:
    dice = random.Random(seed)
    envoy = Conversation(role(shared()), mode=None)
    steps: dict[Kind, Any] = {
        Kind.REQUEST_HEADERS: lambda: envoy.headers(
            dice.choice(["/v1/messages", "/v1/chat/completions", "/x", "", "/v1/messages?a"]),
            method=dice.choice(["POST", "POST", "GET", "HEAD", ""]),
            end=dice.random() < 0.2,
            attributes=leaf(text),
        ),
        Kind.REQUEST_BODY: lambda: envoy.body(dice.choice([b"", b"{}", MESSAGES, {**MESSAGES, "stream": True}])),
        Kind.REQUEST_TRAILERS: lambda: envoy.trailers("request_trailers"),
        Kind.RESPONSE_HEADERS: lambda: envoy.answer(
            dice.choice([0, 200, 204, 429, 503, 999]),
            {"content-type": dice.choice(["text/event-stream", "application/json", "text/html"])},
            end=dice.random() < 0.2,
            details=dice.choice(["via_upstream", "", "no_healthy_upstream"]),
        ),
        Kind.RESPONSE_BODY: lambda: envoy.chunk(
            dice.choice([b"", b"data: {}\n\n", b"{}", b"\xff"]), end=dice.random() < 0.5
        ),
        Kind.RESPONSE_TRAILERS: envoy.trailers,
    }
    for kind in kinds:
        over = envoy.exchange.phase is Phase.OVER
        answered = envoy.immediate
        steps[kind]()
        assert not over or envoy.immediate is answered
    assert envoy.close().ending in Ending
