"""What servers and clients really send, beside what the documents say: whole exchanges through the library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from extproc import Refused, Translation
from tests.support.upstream import chat_chunk, events, message, message_events, text_block

ASKED: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
TOOLS = {
    "anthropic_messages": [{"name": "f", "input_schema": {"type": "object"}}],
    "openai_chat": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
SSE = [("content-type", "text/event-stream")]
JSON = [("content-type", "application/json")]
CHAT, MESSAGES = "openai_chat", "anthropic_messages"
USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}


def asked(client: str, upstream: str, **members: Any) -> tuple[Translation, Any]:
    provider = {CHAT: "openai", MESSAGES: "anthropic"}[upstream]
    t = Translation(client, route={"provider": provider, "auth": "none"}, now=0)
    call = t.request(json.dumps({**ASKED, "tools": TOOLS[client], **members}).encode())
    return t, json.loads(call.body)


def sent(client: str, upstream: str, **members: Any) -> Any:
    return asked(client, upstream, **members)[1]


def streamed(client: str, upstream: str, wire: bytes) -> list[Any]:
    t, _ = asked(client, upstream, stream=True)
    t.response_head(200, SSE)
    out = t.response_body(wire) + t.response_body(b"", end_of_stream=True)
    return [json.loads(line[6:]) if line != b"data: [DONE]" else "[DONE]" for line in _data(out)]


def _data(out: bytes) -> Iterator[bytes]:
    return (line for line in out.split(b"\n") if line.startswith(b"data: "))


def whole(client: str, upstream: str, answer: Any, status: int = 200) -> tuple[Translation, Any]:
    t, _ = asked(client, upstream)
    t.response_head(status, JSON)
    return t, json.loads(t.response_body(json.dumps(answer).encode(), end_of_stream=True))


def shape(told: list[Any]) -> list[Any]:
    """A Messages stream in short: the kinds of its events, of a block's with the block's index and kind."""
    short: list[Any] = []
    for event in told:
        kind = event["type"]
        if kind == "content_block_start":
            short.append((event["index"], event["content_block"]["type"]))
        elif kind == "content_block_delta":
            value = next(value for name, value in event["delta"].items() if name != "type")
            short.append((event["index"], value))
        elif kind == "content_block_stop":
            short.append((event["index"], "stop"))
        elif kind != "ping":
            short.append(kind)
    return short


def calls(*parts: tuple[int | None, str | None, str | None, str | None]) -> dict[str, Any]:
    made = []
    for index, id_, name, arguments in parts:
        function = {"name": name, "arguments": arguments}
        part = {"index": index, "id": id_, "function": {k: v for k, v in function.items() if v is not None}}
        made.append({name: value for name, value in part.items() if value is not None})
    return chat_chunk(tool_calls=made)


def usage_chunk(**usage: Any) -> dict[str, Any]:
    return {**chat_chunk(), "choices": [], "usage": {**USAGE, **usage}}


def stop_of(told: list[Any]) -> Any:
    return next(event["delta"]["stop_reason"] for event in told if event["type"] == "message_delta")


def usage_of(told: list[Any]) -> Any:
    return next(event["usage"] for event in told if event["type"] == "message_delta")


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
        ([TEXT, STOP, usage_chunk(prompt_tokens_details={"cached_tokens": 180})], (0, 7, 180)),
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


def chat_answer(finish: str = "stop", **message_: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message_}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1.5, "model": "m", "choices": [choice]}


def function(arguments: Any, id_: str | None = "call_1") -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "arguments": arguments}, **({"id": id_} if id_ else {})}


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


# ---- requests of Anthropic's clients


def result(**members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", **members}


HISTORY = [
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
]


def test_results_come_directly_after_their_calls_whatever_stands_beside_them() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    turn = {"role": "user", "content": [{"type": "text", "text": "first"}, result(content="done"), image]}
    sent_ = sent(MESSAGES, CHAT, messages=[*HISTORY, turn])["messages"]
    assert [m["role"] for m in sent_] == ["user", "assistant", "tool", "user"]
    assert sent_[1]["tool_calls"][0]["function"]["arguments"] == "{}" and sent_[2]["content"] == "done"
    assert [part["type"] for part in sent_[3]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("members", "content"),
    [({}, ""), ({"content": []}, ""),
     ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb")],
)  # fmt: skip
def test_contents_of_results(members: dict[str, Any], content: str) -> None:
    messages = sent(MESSAGES, CHAT, messages=[*HISTORY, {"role": "user", "content": [result(**members)]}])["messages"]
    assert len(messages) == 3 and messages[2]["role"] == "tool"
    text = messages[2]["content"]
    assert (text if isinstance(text, str) else "".join(part["text"] for part in text)) == content


def test_a_failed_result_says_so_to_the_model() -> None:
    turns = [{"role": "user", "content": [result(content="boom", is_error=flag)]} for flag in (True, False)]
    failed, good = (sent(MESSAGES, CHAT, messages=[*HISTORY, turn])["messages"][2]["content"] for turn in turns)
    assert "boom" in failed and failed != good == "boom"


def test_zero_is_a_value() -> None:
    body = sent(MESSAGES, CHAT, temperature=0, top_p=0)
    assert (body["temperature"], body["top_p"], body["max_completion_tokens"]) == (0, 0, 99)
    assert "max_tokens" not in body


@pytest.mark.parametrize("tools", [[], [{"type": "computer_20250124", "name": "computer"}]])
def test_no_choice_is_sent_among_no_tools(tools: list[Any]) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    try:
        body = sent(MESSAGES, CHAT, tools=tools, tool_choice=choice)
    except Refused as refused:
        assert refused.status == 400 and tools
    else:
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_a_long_name_is_shortened_everywhere_and_restored_in_the_answer() -> None:
    name = "mcp__" + "x" * 70
    tool = {"name": name, "input_schema": {"type": "object"}}
    call_ = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    turns = [{"role": "assistant", "content": [call_]}, {"role": "user", "content": [result(content="x")]}]
    history = [HISTORY[0], *turns]
    t, body = asked(MESSAGES, CHAT, tools=[tool], tool_choice={"type": "tool", "name": name}, messages=history)
    short = body["tools"][0]["function"]["name"]
    assert len(short) <= 64 and body["tool_choice"]["function"]["name"] == short
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == short
    t.response_head(200, JSON)
    call = {"type": "function", "id": "c", "function": {"name": short, "arguments": "{}"}}
    answer = json.loads(t.response_body(json.dumps(chat_answer(content=None, tool_calls=[call])).encode(), True))
    assert answer["content"][0]["name"] == name


@pytest.mark.parametrize("source", [True, "x", {}, {"type": "base64"}, {"type": "url", "url": 5}])
def test_an_image_that_is_none_is_refused_with_its_path(source: Any) -> None:
    with pytest.raises(Refused) as refused:
        sent(MESSAGES, CHAT, messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
    error = json.loads(refused.value.body)
    assert refused.value.status == 400 and error["error"]["message"].startswith("messages.0.content.0")


@pytest.mark.parametrize("messages", [[], None, {}, "x", [{"content": "x"}], [{"role": "user"}], [5]])
def test_messages_that_are_none_are_refused(messages: Any) -> None:
    with pytest.raises(Refused) as refused:
        sent(MESSAGES, CHAT, messages=messages)
    assert refused.value.status == 400 and "messages" in json.loads(refused.value.body)["error"]["message"]


def test_a_document_reaches_the_model_or_is_refused() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "the text"}}
    assert "the text" in json.dumps(sent(MESSAGES, CHAT, messages=[{"role": "user", "content": [document]}]))


def test_cache_markers_and_foreign_members_do_not_reach_openai() -> None:
    system = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    t, body = asked(MESSAGES, CHAT, system=system, top_k=5, context_management={}, metadata={"user_id": "u" * 300})
    text = json.dumps(body)
    assert "cache_control" not in text and "top_k" not in text and "context_management" not in text
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert len(body.get("safety_identifier") or body.get("user") or "") <= 64
    assert {"top_k:dropped"} <= set(map(str, t.losses))


# ---- requests of OpenAI's clients


def test_parallel_calls_are_forbidden_without_a_choice_too() -> None:
    body = sent(CHAT, MESSAGES, parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("stop", ["x", ["x"], None])
def test_stop_as_text_or_list(stop: Any) -> None:
    assert sent(CHAT, MESSAGES, stop=stop).get("stop_sequences") == (["x"] if stop else None)


def test_a_temperature_beyond_anthropics_is_clamped_and_said() -> None:
    t, body = asked(CHAT, MESSAGES, model="claude-sonnet-4-5", temperature=1.7)
    assert body["temperature"] == 1 and "temperature:clamped" in set(map(str, t.losses))


def test_images_and_pdfs_by_data_url() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
    ]
    content = sent(CHAT, MESSAGES, messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert [(block["type"], block["source"]["media_type"]) for block in content] == [
        ("image", "image/png"),
        ("document", "application/pdf"),
    ]


def test_signed_thinking_comes_back_as_it_was_signed() -> None:
    """A reasoning turn of Claude's, told to an OpenAI client, which sends it back with the result of its call."""
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]  # fmt: skip
    _, answer = whole(CHAT, MESSAGES, message(*blocks, stop="tool_use"))
    said = answer["choices"][0]["message"]
    history = [HISTORY[0], said, {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "x"}]
    body = sent(CHAT, MESSAGES, model="claude-sonnet-4-5", reasoning_effort="high", messages=history)
    assert body["messages"][1]["content"] == blocks


def test_thinking_of_another_provider_never_reaches_anthropic_signed() -> None:
    turn = {"role": "assistant", "content": "so", "reasoning_content": "hm"}
    body = sent(CHAT, MESSAGES, model="claude-sonnet-4-5", messages=[HISTORY[0], turn, HISTORY[0]])
    assert "signature" not in json.dumps(body)


# ---- the same API on both sides


def test_numbers_escapes_and_empty_things_survive_a_changed_member() -> None:
    raw = (
        b'{"model":"m","messages":[{"role":"user","content":"\\u00e9\\ud83d\\ude00"}],'
        b'"a":12345678901234567890,"b":1.0,"c":[],"d":null,"e":{}}'
    )
    t = Translation(CHAT, route={"provider": "openai", "auth": "none", "options": {"model": "other"}}, now=0)
    assert t.request(raw).body == raw.replace(b'"m"', b'"other"')


def test_a_client_that_wants_no_usage_keeps_its_stream_options() -> None:
    raw = json.dumps({**ASKED, "stream": True, "stream_options": {"include_usage": False}}).encode()
    t = Translation(CHAT, route={"provider": "openai", "auth": "none"}, now=0)
    assert t.request(raw).body == raw


@pytest.mark.rows("F14")
@pytest.mark.parametrize("model", ["my-base/sql-lora@v2", "qwen3:8b", "/models/llama 3", "\u6771\u4eac"])
def test_a_local_models_name_goes_on_as_it_is(model: str) -> None:
    t = Translation(MESSAGES, route={"provider": "openai-compatible"}, now=0)
    assert json.loads(t.request(json.dumps({**ASKED, "model": model}).encode()).body)["model"] == model
    assert (t.model_asked, t.model_sent) == (model, model)
