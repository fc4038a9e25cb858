"""What servers really answer, beside what the documents say."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from extproc import Translation
from tests.support.exchanges import (
    ASKED,
    CHAT,
    JSON,
    MESSAGES,
    SSE,
    USAGE,
    asked,
    calls,
    chat_answer,
    data_of,
    function,
    shape,
    stop_of,
    streamed,
    usage_chunk,
    usage_of,
    whole,
)
from tests.support.upstream import chat_chunk, events, message, message_events, text_block

START, END = ["message_start"], ["message_delta", "message_stop"]
HELLO = [*START, (0, "text"), (0, "hello"), (0, "stop"), *END]
ROLE = chat_chunk(role="assistant", content="")
TEXT = chat_chunk(content="hello")
STOP = chat_chunk("stop")
CASES: list[tuple[str, bytes, list[Any]]] = [
    ("plain", b"".join(events(ROLE, TEXT, STOP, usage_chunk(), done=True)), HELLO),
    ("role and text together", b"".join(events(chat_chunk(role="assistant", content="hello"), STOP, done=True)), HELLO),
    ("no [DONE]", b"".join(events(ROLE, TEXT, STOP)), HELLO),
    ("no blank line at the end", b"".join(events(ROLE, TEXT, STOP, usage_chunk(), done=True))[:-2], HELLO),
    ("finish twice", b"".join(events(ROLE, TEXT, STOP, STOP, usage_chunk(), done=True)), HELLO),
    ("comments", b": OPENROUTER PROCESSING\n\n" + b"".join(events(ROLE, TEXT, STOP, done=True)), HELLO),
    ("empty data", b"data: \n\n" + b"".join(events(ROLE, TEXT, STOP, done=True)), HELLO),
    ("CR LF", b"".join(events(ROLE, TEXT, STOP, done=True)).replace(b"\n", b"\r\n"), HELLO),
    ("CR", b"".join(events(ROLE, TEXT, STOP, done=True)).replace(b"\n", b"\r"), HELLO),
    ("byte order mark", b"\xef\xbb\xbf" + b"".join(events(ROLE, TEXT, STOP, done=True)), HELLO),
    ("no space", b"".join(events(ROLE, TEXT, STOP, done=True)).replace(b"data: ", b"data:"), HELLO),
    ("Azure's first chunk", b"".join(events({**ROLE, "choices": [], "prompt_filter_results": []}, ROLE, TEXT, STOP,
     done=True)), HELLO),
    ("an empty chunk before the usage", b"".join(events(ROLE, TEXT, STOP, {**ROLE, "choices": []}, usage_chunk(),
     done=True)), HELLO),
    ("finish that is none", b"".join(events(chat_chunk("", content="hel"), chat_chunk(content="lo"), STOP, done=True)),
     [*START, (0, "text"), (0, "hel"), (0, "lo"), (0, "stop"), *END]),
    ("text after a call", b"".join(events(ROLE, calls((0, "call_1", "f", "{}")), TEXT, chat_chunk("tool_calls"),
     done=True)),
     [*START, (0, "tool_use"), (0, "{}"), (0, "stop"), (1, "text"), (1, "hello"), (1, "stop"), *END]),
    ("reasoning, then text", b"".join(events(chat_chunk(reasoning_content="hm"), TEXT, STOP, done=True)),
     [*START, (0, "thinking"), (0, "hm"), (0, ...), (0, "stop"), (1, "text"), (1, "hello"), (1, "stop"), *END]),
    ("two calls", b"".join(events(ROLE, calls((0, "a", "f", "{}")), calls((1, "b", "f", "{}")),
     chat_chunk("tool_calls"), done=True)),
     [*START, (0, "tool_use"), (0, "{}"), (0, "stop"), (1, "tool_use"), (1, "{}"), (1, "stop"), *END]),
    ("two calls of one index", b"".join(events(calls((0, "a", "f", "{}")), calls((0, "b", "f", "{}")), STOP,
     done=True)),
     [*START, (0, "tool_use"), (0, "{}"), (0, "stop"), (1, "tool_use"), (1, "{}"), (1, "stop"), *END]),
    ("calls without an index", b"".join(events(calls((None, "a", "f", "{}"), (None, "b", "f", "{}")), STOP, done=True)),
     [*START, (0, "tool_use"), (0, "{}"), (0, "stop"), (1, "tool_use"), (1, "{}"), (1, "stop"), *END]),
    ("a name that comes late", b"".join(events(calls((0, "a", None, "")), calls((0, None, "f", '{"x"')),
     calls((0, None, None, ":1}")), STOP, done=True)),
     [*START, (0, "tool_use"), (0, '{"x"'), (0, ":1}"), (0, "stop"), *END]),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_an_odd_stream_of_openais_is_one_of_anthropics(wire: bytes, expected: list[Any]) -> None:
    told = streamed(MESSAGES, CHAT, wire)
    found = shape(told)
    assert len(found) == len(expected)
    assert all(left == right or right[1:] == (...,) for left, right in zip(found, expected, strict=True)), found
    called = any(item[1:] == ("tool_use",) for item in expected if isinstance(item, tuple))
    assert stop_of(told) == ("tool_use" if called else "end_turn")


def test_fragments_of_calls_that_come_in_turns_do_not_go_to_a_closed_block() -> None:
    parts = [(0, "a", "f", '{"x"'), (1, "b", "f", '{"y"'), (0, None, None, ":1}"), (1, None, None, ":2}")]
    wire = b"".join(events(ROLE, *(calls(part) for part in parts), chat_chunk("tool_calls"), done=True))
    told = streamed(MESSAGES, CHAT, wire)
    inputs: dict[int, str] = {}
    open_block: int | None = None
    for event in told:
        if event["type"] == "content_block_start":
            assert open_block is None
            open_block = event["index"]
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_block
            inputs[event["index"]] = inputs.get(event["index"], "") + event["delta"]["partial_json"]
        elif event["type"] == "content_block_stop":
            open_block = None
    assert inputs == {0: '{"x":1}', 1: '{"y":2}'}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([ROLE, TEXT, STOP, usage_chunk()], (100, 7, 0)),
        ([ROLE, TEXT, {**STOP, "usage": USAGE}], (100, 7, 0)),
        ([{**ROLE, "usage": None}, {**TEXT, "usage": {**USAGE, "completion_tokens": 1}}, {**STOP, "usage": USAGE}],
         (100, 7, 0)),
        ([TEXT, STOP, usage_chunk(prompt_tokens_details={"cached_tokens": 80})], (20, 7, 80)),
        ([TEXT, STOP, usage_chunk(prompt_tokens_details={"cached_tokens": 180})], (0, 7, 100)),
        ([TEXT, STOP, usage_chunk(prompt_tokens_details=None)], (100, 7, 0)),
        ([TEXT, STOP], (0, 0, 0)),
    ],
)  # fmt: skip
def test_usage_wherever_it_stands(chunks: list[Any], expected: tuple[int, int, int]) -> None:
    usage = usage_of(streamed(MESSAGES, CHAT, b"".join(events(*chunks, done=True))))
    found = (usage.get("input_tokens") or 0, usage["output_tokens"], usage.get("cache_read_input_tokens") or 0)
    assert found == expected


@pytest.mark.parametrize(
    ("finish", "stop"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("function_call", "end_turn")],
)
def test_reasons_to_stop(finish: str, stop: str) -> None:
    assert stop_of(streamed(MESSAGES, CHAT, b"".join(events(TEXT, chat_chunk(finish), done=True)))) == stop


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"data: [DONE]\n\n",
        b"".join(events(ROLE, TEXT)),
        b"".join(events(ROLE, TEXT, {"error": {"message": "boom", "type": "server_error", "code": None}})),
        b"".join(events(TEXT))[:-20],
        b"".join(events(*message_events(text_block("native")))),
    ],
    ids=["nothing", "done alone", "cut", "error", "cut in an event", "another api"],
)
def test_what_is_no_whole_stream_never_looks_complete(wire: bytes) -> None:
    kinds = [event["type"] for event in streamed(MESSAGES, CHAT, wire)]
    assert kinds[-1] == "error" and "message_stop" not in kinds


# ---- Anthropic's streams for OpenAI's clients


def test_calls_are_counted_from_zero_and_one_without_input_has_an_empty_object() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    inputs = [{"type": "input_json_delta", "partial_json": part} for part in ('{"x"', ":1}")]
    wire = b"".join(events(*message_events(text_block("so"), [call], [{**call, "id": "toolu_2"}, *inputs],
                                           stop="tool_use")))  # fmt: skip
    parts: dict[int, dict[str, str]] = {}
    for chunk in streamed(CHAT, MESSAGES, wire)[:-1]:
        for part in (chunk["choices"][0]["delta"].get("tool_calls") or []) if chunk["choices"] else []:
            known = parts.setdefault(part["index"], {"id": part.get("id", ""), "arguments": ""})
            assert part.get("id", known["id"]) == known["id"], "a part that goes on names no other"
            known["arguments"] += part["function"].get("arguments") or ""
    assert parts == {0: {"id": "toolu_1", "arguments": "{}"}, 1: {"id": "toolu_2", "arguments": '{"x":1}'}}


def test_servers_own_tools_are_no_calls_for_the_client() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    query = {"type": "input_json_delta", "partial_json": '{"query":"x"}'}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    wire = b"".join(events(*message_events([search, query], [found], text_block("so"))))
    *chunks, done = streamed(CHAT, MESSAGES, wire)
    assert done == "[DONE]" and not [c for c in chunks if c["choices"] and c["choices"][0]["delta"].get("tool_calls")]
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop"


def test_a_client_that_asked_for_no_usage_gets_no_chunk_without_choices() -> None:
    *chunks, _ = streamed(CHAT, MESSAGES, b"".join(events(*message_events(text_block("so")))))
    assert [chunk["choices"] for chunk in chunks if not chunk["choices"]] == []


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "length"), ("max_tokens", "length"),
     ("model_context_window_exceeded", "length"), ("refusal", "content_filter"), ("of_tomorrow", "stop")],
)  # fmt: skip
def test_anthropics_reasons_to_stop(stop: str, finish: str) -> None:
    _, answer = whole(CHAT, MESSAGES, message({"type": "text", "text": "x"}, stop=stop))
    assert answer["choices"][0]["finish_reason"] == finish


def test_all_texts_of_a_whole_answer_are_joined_and_usage_counts_the_cache() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 10, "output_tokens": 5}
    blocks = [{"type": "text", "text": part} for part in ("a", "b", "c")]
    _, answer = whole(CHAT, MESSAGES, message(*blocks, usage=usage))
    assert answer["choices"][0]["message"]["content"] == "abc"
    told = answer["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (93, 5, 98)
    assert told["prompt_tokens_details"]["cached_tokens"] == 80


# ---- whole answers of OpenAI's for Anthropic's clients


@pytest.mark.parametrize(
    ("arguments", "given"),
    [('{"a":1}', {"a": 1}), ("", {}), ({"a": 1}, {"a": 1}), (None, {})],
)
def test_arguments_as_servers_write_them(arguments: Any, given: Any) -> None:
    _, answer = whole(MESSAGES, CHAT, chat_answer(content=None, tool_calls=[function(arguments)]))
    assert [block["type"] for block in answer["content"]] == ["tool_use"]
    assert (answer["content"][0]["input"], answer["stop_reason"]) == (given, "tool_use")


@pytest.mark.parametrize("arguments", ["{bad", "[1]", "5"])
def test_arguments_that_are_no_object_fail_no_answer(arguments: str) -> None:
    t, answer = whole(MESSAGES, CHAT, chat_answer(content="kept", tool_calls=[function(arguments)]))
    assert t.failed is None and answer["content"][0] == {"type": "text", "text": "kept"}
    assert type(answer["content"][1]["input"]) is dict


def test_a_call_without_an_id_gets_one() -> None:
    _, answer = whole(MESSAGES, CHAT, chat_answer(content=None, tool_calls=[function("{}", None)]))
    assert answer["content"][0]["id"].startswith("toolu_")


@pytest.mark.parametrize(
    ("members", "blocks"),
    [
        ({"content": None}, []),
        ({"content": "x", "reasoning": "hm"}, ["thinking", "text"]),
        ({"content": "x", "reasoning_content": "hm"}, ["thinking", "text"]),
        ({"content": [{"type": "text", "text": "x"}]}, ["text"]),
        ({"content": "x", "tool_calls": None, "function_call": None, "annotations": None, "audio": None}, ["text"]),
        ({"content": None, "refusal": "no"}, ["text"]),
    ],
)
def test_blocks_of_a_whole_answer(members: dict[str, Any], blocks: list[str]) -> None:
    t, answer = whole(MESSAGES, CHAT, {**chat_answer(**members), "usage": None})
    assert t.failed is None and [block["type"] for block in answer["content"]] == blocks
    assert "stop_sequence" in answer and answer["usage"]["input_tokens"] == 0


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"detail": "bad thing"}, "invalid_request_error"),
        (400, {"message": "bad thing"}, "invalid_request_error"),
        (400, [{"error": {"code": 400, "message": "bad thing"}}], "invalid_request_error"),
        (400, {"error": "bad thing"}, "invalid_request_error"),
        (400, {"object": "error", "message": "bad thing", "code": 400}, "invalid_request_error"),
        (429, {"error": {"message": "bad thing", "type": None, "code": 429}}, "rate_limit_error"),
        (404, {"error": {"message": "bad thing", "type": "", "code": None}}, "not_found_error"),
        (500, {"error": {"message": "bad thing", "type": 500}}, "api_error"),
    ],
)
def test_errors_as_servers_write_them(status: int, error: Any, kind: str) -> None:
    t, answer = whole(MESSAGES, CHAT, error, status)
    assert (t.head.status, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert "bad thing" in answer["error"]["message"]


@pytest.mark.parametrize("body", [None, [], "x", 5, {}, {"choices": None}])
def test_a_success_that_is_no_answer_is_a_clean_error(body: Any) -> None:
    t, answer = whole(MESSAGES, CHAT, body)
    if t.failed is not None:
        assert (t.head.status, answer["type"]) == (502, "error")
    else:
        assert answer["content"] == [] and body in ({}, {"choices": None})


# ---- streaming that the route decides, and compression


@pytest.mark.rows("A9", "D12")
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
def test_a_stream_that_only_the_route_asked_for(client: str) -> None:
    """The other API's client, who asked for none, gets a whole answer; one of the same API what passes."""
    t = Translation(client, route={"provider": "openai", "auth": "none", "options": {"stream": True}}, now=0)
    assert json.loads(t.request(json.dumps(ASKED).encode()).body)["stream"] is True
    t.response_head(200, SSE)
    wire = b"".join(events(ROLE, TEXT, STOP, usage_chunk(), done=True))
    out = t.response_body(wire) + t.response_body(b"", end_of_stream=True)
    if client == CHAT:
        assert (t.whole, out) == (False, wire)
    else:
        assert t.whole and json.loads(out)["content"] == [{"type": "text", "text": "hello"}]
    assert t.usage.output_tokens == 7


@pytest.mark.rows("A9", "D12")
def test_a_stream_that_the_route_forbids_is_made_of_the_whole_answer() -> None:
    t = Translation(MESSAGES, route={"provider": "openai", "auth": "none", "options": {"stream": False}}, now=0)
    assert json.loads(t.request(json.dumps({**ASKED, "stream": True}).encode()).body)["stream"] is False
    t.response_head(200, JSON)
    out = t.response_body(json.dumps(chat_answer(content="hello")).encode(), end_of_stream=True)
    assert dict(t.head.headers)["content-type"].startswith("text/event-stream")
    assert shape([json.loads(line[6:]) for line in data_of(out)]) == HELLO


@pytest.mark.parametrize("status", [200, 429])
def test_compressed_errors_and_empty_compressed_bodies(status: int) -> None:
    for body in (gzip.compress(b'{"error":{"message":"slow down","code":429}}'), gzip.compress(b""), b""):
        t, _ = asked(MESSAGES, CHAT)
        t.response_head(status, [*JSON, ("content-encoding", "gzip"), ("retry-after", "3")])
        answer = json.loads(t.response_body(body, end_of_stream=True))
        assert answer["type"] == "error" and t.head.status in (429, 502)
        assert "content-encoding" not in dict(t.head.headers)
        if len(body) > 25:
            assert "slow down" in answer["error"]["message"] and t.head.status == 429


@pytest.mark.parametrize("first", [usage_chunk(), {"id": "x"}, {**ROLE, "choices": None}, {"choices": [{}]}])
def test_a_stream_that_begins_oddly(first: Any) -> None:
    told = streamed(MESSAGES, CHAT, b"".join(events(first, ROLE, TEXT, STOP, done=True)))
    assert shape(told) == HELLO


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
def test_limits_and_retries_are_said_in_the_clients_words(client: str) -> None:
    upstream = CHAT if client == MESSAGES else MESSAGES
    theirs = {
        CHAT: [("x-ratelimit-remaining-requests", "9"), ("x-request-id", "req-1")],
        MESSAGES: [("anthropic-ratelimit-requests-remaining", "9"), ("request-id", "req-1")],
    }
    t, _ = asked(client, upstream)
    t.response_head(429, [*JSON, ("retry-after", "7"), *theirs[upstream]])
    t.response_body(b'{"error":{"message":"slow down"}}', end_of_stream=True)
    head = dict(t.head.headers)
    assert head["retry-after"] == "7" and all(head[name] == value for name, value in theirs[client])
    assert not [name for name, _ in theirs[upstream] if name in head]


@pytest.mark.parametrize("stream", [True, False])
def test_what_nobody_reads_of_an_answer_that_passes_is_not_lost(stream: bool) -> None:
    t = Translation(CHAT, CHAT, route={"provider": "openai-compatible", "auth": "none"}, now=0)
    t.request(json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}).encode())
    odd = {**chat_chunk(content="hello", news="x"), "warnings": ["y"]}
    wire = b"".join(events(odd, STOP, done=True)) if stream else json.dumps(odd).encode()
    t.response_head(200, SSE if stream else JSON)
    assert t.response_body(wire) + t.response_body(b"", end_of_stream=True) == wire
    assert not list(t.losses)


def test_an_answer_of_several_choices_is_read_by_its_first() -> None:
    second = {**TEXT, "choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": None}]}
    assert shape(streamed(MESSAGES, CHAT, b"".join(events(ROLE, second, TEXT, STOP, done=True)))) == HELLO


@pytest.mark.parametrize("cut", [0, 7])
def test_the_usage_of_a_passing_anthropic_stream_is_that_of_its_start_and_its_end(cut: int) -> None:
    told = message_events(text_block("hi"))
    told[0]["message"]["usage"] = {"input_tokens": 3, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 10,
                                   "output_tokens": 1}  # fmt: skip
    wire = b"".join(events(*told))
    t, _ = asked(MESSAGES, MESSAGES, stream=True)
    t.response_head(200, SSE)
    pieces = [wire[at : at + cut] for at in range(0, len(wire), cut)] if cut else [wire]
    assert b"".join(t.response_body(piece) for piece in pieces) + t.response_body(b"", end_of_stream=True) == wire
    usage = t.usage
    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (93, 80, 10)
    assert usage.output_tokens == 5 and t.failed is None


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
def test_an_event_of_two_megabytes_is_not_lost(client: str) -> None:
    text = "x" * 2_000_000
    upstream = CHAT if client == MESSAGES else MESSAGES
    long = [ROLE, chat_chunk(content=text), STOP] if upstream == CHAT else message_events(text_block(text))
    wire = b"".join(events(*long, done=upstream == CHAT))
    t, _ = asked(client, upstream, stream=True)
    t.response_head(200, SSE)
    out = b"".join(t.response_body(wire[at : at + 65536]) for at in range(0, len(wire), 65536))
    assert out.count(b"x" * 2_000_000) == 1 and t.failed is None and t.ended is not None
