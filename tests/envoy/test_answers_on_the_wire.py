"""What a client receives, byte by byte, where its SDK would hide the difference."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy
from extproc.demo.provider import Gate, ScriptedAnswer, sse_answer
from extproc.reference.config import copy_all
from tests.support import placements
from tests.support.gateway import PLACEMENTS, Backends, Gateway, Reply, configured
from tests.support.upstream import (
    chat,
    chat_chunk,
    chat_stream,
    events,
    eventually,
    message,
    message_events,
    text_block,
)

JSON_HEAD = (("content-type", "application/json"),)
BOUND = 4096
OPENAI = f"{placements.OPENAI}max_response_bytes: {BOUND}\n"
ANTHROPIC = f"{placements.ANTHROPIC}max_response_bytes: {BOUND}\n"


@pytest.fixture(scope="module", params=PLACEMENTS)
def _running(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    placement = request.param
    folder = tmp_path_factory.mktemp(placement)
    log = folder / "access.log"
    config = configured(shared, placement, log)
    for name, text, upstream in (("bound", OPENAI, shared.openai), ("bound-claude", ANTHROPIC, shared.anthropic)):
        placements.add_model(config, name, upstream.port, text)
    second = copy_all(placements.manager(config)["access_log"][0])
    kind = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog"
    line = "second log: %DYNAMIC_METADATA(extproc:provider)% %DYNAMIC_METADATA(extproc:output_tokens)%\n"
    second["name"] = "envoy.access_loggers.stderr"
    second["typed_config"] = {"@type": kind, "log_format": {"text_format_source": {"inline_string": line}}}
    placements.manager(config)["access_log"].append(second)
    with Envoy(folder, config) as envoy:
        yield Gateway(placement, envoy, shared, log)


@pytest.fixture
def gateway(_running: Gateway) -> Iterator[Gateway]:
    _running.backends.reset()
    yield _running
    assert _running.envoy.alive(), f"Envoy died:\n{_running.envoy.tail()}"
    assert _running.backends.sidecar.alive(), f"the sidecar died:\n{_running.backends.sidecar.tail()}"


def data_of(reply: Reply) -> list[Any]:
    """The data of a stream's events, JSON read. Every event must end in a blank line."""
    assert reply.body.endswith(b"\n\n")
    blocks = reply.body.removesuffix(b"\n\n").split(b"\n\n")
    found = []
    for block in blocks:
        assert block.count(b"data: ") == 1 and b"\r" not in block
        text = block.partition(b"data: ")[2]
        found.append(text.decode() if text == b"[DONE]" else msgspec.json.decode(text))
    return found


# ---- an OpenAI client's stream from Anthropic

EVERYTHING = message_events(
    [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "c2ln"},
    ],
    [
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "so"},
        {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "x", "document_index": 0,
                                                 "document_title": None, "start_char_index": 0, "end_char_index": 1}},
        {"type": "text_delta", "text": " it is"},
    ],
    [
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ":1}"},
    ],
    stop="tool_use",
)  # fmt: skip


@pytest.mark.rows("A1", "A4", "A5", "A7", "A10", "B14", "C8")
def test_every_kind_of_delta_in_an_openai_clients_stream(gateway: Gateway) -> None:
    gateway.anthropic_upstream.will(sse_answer(events(*EVERYTHING)))
    reply = gateway.chat("claude-haiku-4-5", stream=True)
    assert reply.status == 200 and reply.headers["content-type"].startswith("text/event-stream")
    *chunks, done = data_of(reply)
    assert done == "[DONE]" and "[DONE]" not in chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert [delta["content"] for delta in deltas if delta.get("content")] == ["so", " it is"]
    assert None not in [delta.get("content", "") for delta in deltas if "tool_calls" not in delta]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert "".join(call["function"].get("arguments", "") for call in calls) == '{"a":1}'
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "tool_calls"


@pytest.mark.rows("A6", "A7", "B13")
def test_an_event_that_is_no_json_is_skipped_and_the_rest_of_its_piece_is_read(gateway: Gateway) -> None:
    first, *rest = events(*message_events(text_block("one", "two")))
    gateway.anthropic_upstream.will(sse_answer([first + b"event: ping\ndata: {broken\n\n" + b"".join(rest)]))
    *chunks, done = data_of(gateway.chat("claude-haiku-4-5", stream=True))
    texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    assert [text for text in texts if text] == ["one", "two"] and done == "[DONE]"


@pytest.mark.rows("A6")
def test_a_broken_event_fails_the_stream(gateway: Gateway) -> None:
    first, *rest = events(*message_events(text_block("pay ", "not ", "me")))
    broken = [rest[0], rest[1], rest[2][:-9] + b"\n\n", *rest[3:]]
    gateway.anthropic_upstream.will(sse_answer([first + b"".join(broken)]))
    *chunks, last = data_of(gateway.chat("claude-haiku-4-5", stream=True))
    assert "not JSON" in last["error"]["message"]
    texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    assert "".join(texts) == "pay "


@pytest.mark.rows("A9", "A10")
@pytest.mark.parametrize("head", [(), JSON_HEAD, (("content-type", "text/plain; charset=utf-8"),)])
def test_a_whole_answer_under_any_content_type(gateway: Gateway, head: tuple[tuple[str, str], ...]) -> None:
    body = msgspec.json.encode(message({"type": "text", "text": "hello"}))
    gateway.anthropic_upstream.will(ScriptedAnswer([body], 200, head))
    reply = gateway.chat("claude-haiku-4-5")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json["choices"][0]["message"]["content"] == "hello"
    assert reply.headers["content-length"] == str(len(reply.body))


@pytest.mark.rows("A10", "C13")
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_error_keeps_its_status_and_is_json(gateway: Gateway, stream: bool) -> None:
    gateway.anthropic_upstream.will(as_anthropic.failure(422, "no", "invalid_request_error"))
    reply = gateway.chat("claude-haiku-4-5", stream=stream)
    assert (reply.status, reply.headers["content-type"]) == (422, "application/json")
    assert reply.json["error"]["message"] == "no" and "type" not in reply.json


# ---- an Anthropic client's stream from OpenAI


VLLM = {
    "message_start": {"type", "message"},
    "content_block_start": {"type", "index", "content_block"},
    "content_block_delta": {"type", "index", "delta"},
    "content_block_stop": {"type", "index"},
    "message_delta": {"type", "delta", "usage"},
    "message_stop": {"type"},
    "ping": {"type"},
    "error": {"type", "error"},
}
"""The events of vLLM's own /v1/messages, with their members."""


@pytest.mark.rows("F7", "F8", "F9")
def test_a_call_in_an_anthropic_clients_stream(gateway: Gateway) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": text}} for text in ('{"a"', ":1}")]
    deltas: list[dict[str, Any]] = [{"content": "let me see"}, {"tool_calls": [call]}]
    deltas += [{"tool_calls": [part]} for part in parts]
    gateway.openai_upstream.will(chat_stream(*deltas, finish="tool_calls"))
    reply = gateway.messages("gpt-5", stream=True)
    assert b"chat.completion" not in reply.body and b"choices" not in reply.body and b"[DONE]" not in reply.body
    told = data_of(reply)
    names = re.findall(rb"^event: (\w+)$", reply.body, re.MULTILINE)
    assert [name.decode() for name in names] == [event["type"] for event in told]
    for event in told:
        assert set(event) == VLLM[event["type"]], event
    start = told[0]["message"]
    assert set(start) >= {"id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"}
    own = [event for event in told if event["type"] != "ping"]
    assert [(event["type"], event.get("index")) for event in own] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert own[4]["content_block"] == {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    assert [event["delta"] for event in own[5:7]] == [
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ":1}"},
    ]
    assert own[-2]["delta"]["stop_reason"] == "tool_use" and own[-2]["usage"]["output_tokens"] == 5


@pytest.mark.rows("F7")
def test_no_piece_without_an_equivalent_is_passed_raw(gateway: Gateway) -> None:
    """Each piece by itself, so that each must be replaced by itself, by nothing where it means nothing."""
    odd = {**chat_chunk(), "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    pieces = events(odd, chat_chunk(role="assistant", content=""), chat_chunk(content="hi"), odd, chat_chunk("stop"))
    usage = {**chat_chunk(), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    pieces += [b": keep-alive\n\n", b"\n", *events(usage, done=True)]
    gateway.openai_upstream.will(sse_answer(pieces, pause=0.02))
    told = data_of(gateway.messages("gpt-5", stream=True))
    assert [event["type"] for event in told if event["type"] != "ping"] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip


# ---- the same API on both sides


@pytest.mark.rows("D33")
@pytest.mark.parametrize("length", ["announced", "chunked"])
def test_unknown_members_of_an_answer_pass_byte_for_byte(gateway: Gateway, length: str) -> None:
    body = (
        b'{ "id":"c","object":"chat.completion","created":1.0,"model":"gpt-5","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"hi","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0,'
        b'"audio_tokens":0}},"service_tier":"default","system_fingerprint":null,"x_new":{"deep":[1.0,1e3,"\\u00e9"]}}'
    )
    gateway.openai_upstream.will(
        ScriptedAnswer([body] if length == "announced" else [body[:50], body[50:]], 200, JSON_HEAD)
    )
    reply = gateway.chat("gpt-5")
    assert (reply.status, reply.body) == (200, body)


@pytest.mark.rows("D33")
def test_unknown_members_of_a_stream_pass_byte_for_byte(gateway: Gateway) -> None:
    pieces = events(*({**chat_chunk(content=text, x_new=[1.0]), "obfuscation": "ab"} for text in "ab"), done=True)
    pieces.insert(1, b": comment\r\n\r\n")
    gateway.openai_upstream.will(sse_answer(pieces))
    assert gateway.chat("gpt-5", stream=True).body == b"".join(pieces)


# ---- a bound of the answer

LONG = "x" * (2 * BOUND)


def check_error(reply: Reply, api: str) -> None:
    assert (reply.status, reply.broken) == (502, False)
    assert reply.json["error"]["message"] == f"the upstream's answer is larger than {BOUND} bytes"
    assert ("type" in reply.json) is (api == "messages")


@pytest.mark.rows("D23")
@pytest.mark.parametrize("model", ["bound", "bound-claude"])
@pytest.mark.parametrize("api", ["messages", "chat"])
def test_an_announced_answer_beyond_its_bound_is_an_error(gateway: Gateway, model: str, api: str) -> None:
    put_down(gateway, model, chunked=False)
    check_error(getattr(gateway, api)(model), api)


def put_down(gateway: Gateway, model: str, *, chunked: bool) -> None:
    whole = chat(LONG).chunks if model == "bound" else [msgspec.json.encode(message({"type": "text", "text": LONG}))]
    body = b"".join(chunk for chunk in whole if isinstance(chunk, bytes))
    answer = ScriptedAnswer(
        [body[:1000], body[1000:2000], body[2000:]] if chunked else [body], 200, JSON_HEAD, pause=0.05
    )
    upstream = gateway.openai_upstream if model == "bound" else gateway.anthropic_upstream
    upstream.will(answer, answer)


@pytest.mark.rows("D23")
@pytest.mark.parametrize(("model", "api"), [("bound", "messages"), ("bound-claude", "chat")])
def test_a_translated_answer_beyond_its_bound_is_an_error(gateway: Gateway, model: str, api: str) -> None:
    put_down(gateway, model, chunked=True)
    check_error(getattr(gateway, api)(model), api)


@pytest.mark.rows("D23")
@pytest.mark.parametrize(("model", "api"), [("bound-claude", "messages"), ("bound", "chat")])
def test_a_passing_answer_beyond_its_bound_is_broken_off(gateway: Gateway, model: str, api: str) -> None:
    put_down(gateway, model, chunked=True)
    reply = getattr(gateway, api)(model)
    assert reply.broken and len(reply.body) <= BOUND


@pytest.mark.rows("D23")
@pytest.mark.parametrize("model", ["bound", "bound-claude"])
@pytest.mark.parametrize("api", ["messages", "chat"])
def test_a_stream_beyond_its_bound_says_so_and_never_looks_complete(gateway: Gateway, model: str, api: str) -> None:
    many = ["x" * 500] * 40
    if model == "bound":
        answer = chat_stream(*({"content": text} for text in many), pause=0.005)
        upstream = gateway.openai_upstream
    else:
        answer = sse_answer(events(*message_events(text_block(*many))), pause=0.005)
        upstream = gateway.anthropic_upstream
    upstream.will(answer)
    reply = getattr(gateway, api)(model, stream=True)
    assert reply.status == 200 and reply.broken and b"is larger than" in reply.body
    assert 0 < reply.body.count(b"x" * 500) <= BOUND // 500
    assert b"[DONE]" not in reply.body and b"message_stop" not in reply.body and b'"finish_reason":"' not in reply.body
    assert eventually(lambda: upstream.gone == 1), "the upstream is still being read"


# ---- what is known of it afterwards


@pytest.mark.rows("D32")
def test_another_logger_has_the_record_too(gateway: Gateway) -> None:
    assert gateway.messages("gpt-5").status == 200
    written = re.compile(r"^second log: openai \d+$", re.MULTILINE)
    # Envoy writes what it logs every ten seconds.
    assert eventually(lambda: written.search(gateway.envoy.log.read_text("utf-8")) is not None, 20)


@pytest.mark.rows("B23", "B36")
def test_the_gauge_of_open_streams_goes_back_to_zero(gateway: Gateway) -> None:
    """After a success, an error of the upstream's, an answer that breaks off, and a client that goes away."""
    gate = Gate()
    gateway.openai_upstream.will(as_openai.failure(400, "no"))
    assert gateway.messages("gpt-5").status == 400
    assert gateway.messages("gpt-5").status == 200
    gateway.openai_upstream.will(chat_stream({"content": "par"}, finish=None, done=False, ending="reset", pause=0.05))
    assert gateway.messages("gpt-5", stream=True).broken
    gateway.openai_upstream.will(sse_answer([*events(chat_chunk(role="assistant", content="par")), gate]))
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.envoy.port, timeout=10)) as connection:
        body = b'{"model": "gpt-5", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
        connection.request("POST", "/v1/messages", body, {"content-type": "application/json"})
        assert b"par" in connection.getresponse().read1()
        assert re.search(r"^extproc_open_streams [12]$", gateway.backends.metrics(), re.MULTILINE)
    zero = re.compile(r"^extproc_open_streams 0$", re.MULTILINE)
    assert eventually(lambda: zero.search(gateway.backends.metrics()) is not None, 10)
