"""What servers get wrong, in every API and for every client: whose input it is, what stands in odd places, how it ends.

Each rule is told once, over all upstreams and all clients. What is not told to the client is a loss, or a failure.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import Translation, dialects
from extproc.dialects.base import ResponseHead, UpstreamCall
from extproc.framing import eventstream
from extproc.llm.fold import Folded, TextBlock, ToolCallBlock, folded
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits

Json = Any
CLIENTS = ("openai_chat", "anthropic_messages", "openai_responses", "gemini", "bedrock_converse")
UPSTREAMS = CLIENTS
PATHS = {
    ("gemini", True): "/v1beta/models/m:streamGenerateContent?alt=sse",
    ("gemini", False): "/v1beta/models/m:generateContent",
    ("bedrock_converse", True): "/model/m/converse-stream",
    ("bedrock_converse", False): "/model/m/converse",
}
NAMES = ("f", "g", "get_weather")
Call = tuple[str, str, str]
"""An id, a name, and an input."""


def asked(client: str, *, stream: bool) -> bytes:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    texts: Json = [{"role": "user", "content": "hi"}]
    body: Json = {
        "openai_chat": {"messages": texts, "tools": [
            {"type": "function", "function": {"name": name, "parameters": schema}} for name in NAMES]},
        "anthropic_messages": {"messages": texts, "max_tokens": 9,
                               "tools": [{"name": name, "input_schema": schema} for name in NAMES]},
        "openai_responses": {"input": "hi", "tools": [
            {"type": "function", "name": name, "parameters": schema} for name in NAMES]},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                   "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
                   "tools": [{"functionDeclarations": [{"name": name, "parameters": schema} for name in NAMES]}]},
        "bedrock_converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "toolConfig": {"tools": [
            {"toolSpec": {"name": name, "inputSchema": {"json": schema}}} for name in NAMES]}},
    }[client]  # fmt: skip
    return json.dumps({"model": "m", **body, **({"stream": True} if stream else {})}).encode()


def frames(events: list[Json]) -> bytes:
    """Events of an upstream's stream: pairs for AWS's framing, else data."""
    out = b""
    for event in events:
        if isinstance(event, tuple):
            kind = "exception" if event[0].endswith("Exception") else "event"
            headers = {":message-type": kind, f":{kind}-type": event[0], ":content-type": "application/json"}
            out += eventstream.encode(eventstream.encode_headers(headers), json.dumps(event[1]).encode())
        else:
            out += b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"
    return out


def told(client: str, upstream: str, answer: Json, *, step: int | None = None) -> tuple[Folded, Translation, bytes]:
    """What a client reads of *answer*: a list is a stream."""
    stream = isinstance(answer, list)
    t = Translation(client, upstream, now=0, request_id="r", route={**ROUTES[upstream], "auth": "none"})
    t.request(asked(client, stream=stream), path=PATHS.get((client, stream), ""))
    data = frames(answer) if stream else json.dumps(answer).encode()
    aws = upstream == "bedrock_converse"
    type_ = ("application/vnd.amazon.eventstream" if aws else "text/event-stream") if stream else "application/json"
    t.response_head(200, [("content-type", type_)])
    step = step or max(1, len(data))
    out = b"".join(t.response_body(data[at : at + step]) for at in range(0, len(data), step))
    out += t.response_body(b"", end_of_stream=True)
    call = UpstreamCall("POST", "/", [], {}, Request(dialect=client, model="m", messages=[], stream=stream))
    head = ResponseHead(t.head.status, t.head.headers)
    parser = dialects.get(client).response_parser(call, head, Limits(), LossReport())
    return folded(parser.feed(out) + parser.end()), t, out


ROUTES: dict[str, Json] = {
    "openai_chat": {"provider": "openai-compatible", "override": {"endpoint": "https://x.test"}},
    "anthropic_messages": {"provider": "anthropic"},
    "openai_responses": {"provider": "openai"},
    "gemini": {"provider": "gemini"},
    "bedrock_converse": {"provider": "bedrock"},
}

# ---- whose input it is


def chat(calls: list[Call], order: list[tuple[int, str]], index: Any) -> list[Json]:
    events: list[Json] = []
    for n, piece in order:
        id_, name, _ = calls[n]
        head = {"id": id_, "type": "function"} if piece == "" else {}
        function = {"name": name, "arguments": ""} if piece == "" else {"arguments": piece}
        call = {**({} if index(n) is None else {"index": index(n)}), **head, "function": function}
        if index(n) is None:
            call["id"] = id_
        events.append({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    return [*events, {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}, "[DONE]"]


def messages(calls: list[Call], order: list[tuple[int, str]], index: Any) -> list[Json]:
    events: list[Json] = [{"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}]
    for n, piece in order:
        id_, name, _ = calls[n]
        block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": piece}
        kind = {"type": "content_block_start", "content_block": block}
        events.append({**(kind if piece == "" else {"type": "content_block_delta", "delta": delta}), "index": index(n)})
    stops = [{"type": "content_block_stop", "index": index(n)} for n in range(len(calls))]
    ended = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}
    return [*events, *stops, ended, {"type": "message_stop"}]


def responses(calls: list[Call], order: list[tuple[int, str]], index: Any) -> list[Json]:
    events: list[Json] = [{"type": "response.created", "response": {"id": "r", "model": "m"}}]

    def item(n: int, arguments: str) -> Json:
        id_, name, _ = calls[n]
        return {"type": "function_call", "id": f"fc_{n}", "call_id": id_, "name": name, "arguments": arguments}

    for n, piece in order:
        place = {"item_id": f"fc_{n}"} if index(n) is None else {"output_index": index(n)}
        if piece == "":
            events.append({"type": "response.output_item.added", **place, "item": item(n, "")})
        else:
            events.append({"type": "response.function_call_arguments.delta", **place, "delta": piece})
    whole = [item(n, input_) for n, (_, _, input_) in enumerate(calls)]
    return [*events, {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": whole}}]


def converse(calls: list[Call], order: list[tuple[int, str]], index: Any) -> list[Json]:
    events: list[Json] = [("messageStart", {"role": "assistant"})]
    for n, piece in order:
        id_, name, _ = calls[n]
        place = {"contentBlockIndex": index(n)}
        if piece == "":
            events.append(("contentBlockStart", {**place, "start": {"toolUse": {"toolUseId": id_, "name": name}}}))
        else:
            events.append(("contentBlockDelta", {**place, "delta": {"toolUse": {"input": piece}}}))
    return [*events, ("messageStop", {"stopReason": "tool_use"}), ("metadata", {"usage": {}})]


WRITERS = {
    "openai_chat": chat,
    "anthropic_messages": messages,
    "openai_responses": responses,
    "bedrock_converse": converse,
}
INDEXES: dict[str, Any] = {
    "number": lambda n: n,
    "text": str,
    "fraction": float,
    "none": lambda n: None,
}


@st.composite
def told_calls(draw: st.DrawFn) -> tuple[list[Call], list[tuple[int, str]], str, str]:
    """Calls, and their pieces in some order; how each is told; how places are written."""
    texts = st.text('a{}":\\', max_size=4)
    inputs = draw(st.lists(st.dictionaries(st.sampled_from("ab"), texts, max_size=2), min_size=1, max_size=3))
    calls = [(f"t{n}", draw(st.sampled_from(NAMES)), json.dumps(each)) for n, each in enumerate(inputs)]
    way = draw(st.sampled_from(["pieces", "cumulative", "told again"]))
    queues: list[list[str]] = []
    for _, _, text in calls:
        cuts = sorted(draw(st.lists(st.integers(1, len(text) - 1), max_size=2, unique=True)))
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        if way == "cumulative":
            pieces = [text[:b] for b in [*cuts, len(text)]]
        elif way == "told again":
            pieces.append(text)
        queues.append(["", *pieces])
    order: list[tuple[int, str]] = []
    while any(queues):
        n = draw(st.sampled_from([n for n, queue in enumerate(queues) if queue]))
        # A call before it has begun, as it would have where servers tell them one by one.
        n = min(n, next((m for m, queue in enumerate(queues) if queue and queue[0] == ""), n))
        order.append((n, queues[n].pop(0)))
    return calls, order, way, draw(st.sampled_from(sorted(INDEXES)))


@pytest.mark.parametrize("upstream", WRITERS)
@given(case=told_calls(), client=st.sampled_from(CLIENTS))
@settings(max_examples=60, deadline=None)
def test_every_call_is_told_once_with_its_own_input(upstream: str, case: Json, client: str) -> None:
    calls, order, _, written = case
    if written == "none" and upstream not in ("openai_responses", "openai_chat"):
        written = "text"
    if client == upstream:
        return
    folded, t, _ = told(client, upstream, WRITERS[upstream](calls, order, INDEXES[written]))
    found = [block for block in folded.blocks if isinstance(block, ToolCallBlock)]
    if folded.failed is not None:
        # Never a guess: what was told is right as far as it goes.
        assert t.failed is not None
        return
    assert [(block.name, json.loads(block.input or "{}")) for block in found] == [
        (name, json.loads(input_)) for _, name, input_ in calls
    ]


def again(upstream: str, call: Call, other: Call) -> list[Json]:
    """One call, and the same once more, or another with its id."""
    calls = [call, other]
    order = [(0, ""), (0, call[2]), (1, ""), (1, other[2])]
    return WRITERS[upstream](calls, order, INDEXES["number"])


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("upstream", "answer"),
    [
        # By the names of the proto file.
        ("gemini", {"candidates": [{
            "content": {"parts": [{"function_call": {"id": "t", "name": "f", "args": {"some_a": "1"}}}]},
            "finish_reason": "STOP",
        }]}),
        # Each with the other's number.
        ("openai_responses", [
            {"type": "response.created", "response": {"id": "r"}},
            *({"type": "response.output_item.added", "output_index": 0,
               "item": {"type": "function_call", "id": f"i{n}", "call_id": f"t{n}", "name": name, "arguments": ""}}
              for n, name in enumerate("fg")),
            *({"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": f"i{n}",
               "delta": '{"some_a": "1"}'} for n in (1, 0)),
            {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
        ]),
        # A bracket too many.
        ("anthropic_messages", [
            *messages([("t", "f", "")], [(0, ""), (0, '{"some_a": "1"}'), (0, "}")], int),
        ]),
        ("bedrock_converse", converse([("t", "f", "")], [(0, ""), (0, '{"some_a": "1"}}')], int)),
    ],
)  # fmt: skip
def test_an_input_that_is_told_oddly_is_told_rightly(client: str, upstream: str, answer: Json) -> None:
    if client == upstream:
        return
    for step in (None, 1):
        folded, t, _ = told(client, upstream, answer, step=step)
        calls = [block for block in folded.blocks if isinstance(block, ToolCallBlock)]
        assert t.failed is None and [block.name for block in calls] == ["f", "g"][: len(calls)] and calls
        assert [json.loads(block.input) for block in calls] == [{"some_a": "1"}] * len(calls)


@pytest.mark.parametrize("upstream", ["anthropic_messages", "bedrock_converse", "openai_responses"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_call_that_is_told_again_is_one_call(client: str, upstream: str) -> None:
    if client == upstream:
        return
    call = ("t", "f", '{"a": "1"}')
    _, t, out = told(client, upstream, again(upstream, call, ("t", "f", '{"a":"1"}')))
    assert t.failed is None
    # A Responses stream tells each item when it begins, when it is done, and at the end.
    word, times = (b'"type":"function_call"', 3) if client == "openai_responses" else (b'"f"', 1)
    assert out.count(word) == times
    assert "response.tool_calls:dropped" in map(str, t.losses)
    folded, _, _ = told(client, upstream, again(upstream, call, ("t", "f", '{"a":"2"}')))
    inputs = [json.loads(block.input) for block in folded.blocks if isinstance(block, ToolCallBlock)]
    assert inputs == [{"a": "1"}, {"a": "2"}]


# ---- how it ends

WHOLE: dict[str, Any] = {
    "openai_chat": lambda word: {"id": "c", "choices": [{"message": {"content": "x"}, "finish_reason": word}]},
    "anthropic_messages": lambda word: {
        "id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "x"}],
        "stop_reason": word, "usage": {},
    },
    "openai_responses": lambda word: {
        "id": "r", "status": "incomplete", "incomplete_details": {"reason": word},
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}],
    },
    "gemini": lambda word: {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": word}]},
    "bedrock_converse": lambda word: {
        "output": {"message": {"content": [{"text": "x"}]}}, "stopReason": word, "usage": {},
    },
}  # fmt: skip
WORDS = {
    "max_tokens": ["MAX_TOKENS", "max_output_tokens", "Length", "token_limit"],
    "refusal": ["SAFETY", "content-filter", "content_filtered", "RECITATION", "guardrail_intervened"],
    "broken off": ["malformed_function_call", "ERROR", "abort", "cancelled", "timeout", "malformed_tool_use"],
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize(("meaning", "word"), [(m, word) for m, words in WORDS.items() for word in words])
def test_a_finish_word_means_what_it_says(upstream: str, meaning: str, word: str) -> None:
    client = "openai_chat" if upstream != "openai_chat" else "anthropic_messages"
    folded, t, _ = told(client, upstream, WHOLE[upstream](word))
    if meaning == "broken off":
        assert folded.failed is not None and t.failed is not None
    else:
        assert folded.ended is not None and folded.ended.stop.value == meaning


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("word", ["weird", "NEW_WORD", "stop_token"])
def test_a_word_that_nobody_knows_is_a_loss(upstream: str, word: str) -> None:
    client = "openai_chat" if upstream != "openai_chat" else "anthropic_messages"
    _, t, _ = told(client, upstream, WHOLE[upstream](word))
    assert any(str(loss).endswith(":downgraded") for loss in t.losses)


TOO_LONG = "Input is too long for requested model."
OVERFLOWS: dict[str, list[Any]] = {
    "openai_chat": [[{"error": {"message": TOO_LONG, "type": "server_error", "code": 500}}]],
    "anthropic_messages": [[{"type": "error", "error": {"type": "api_error", "message": TOO_LONG}}]],
    "openai_responses": [
        [{"type": "error", "code": "server_error", "message": TOO_LONG}],
        [{"type": "response.failed", "response": {"id": "r", "status": "failed",
                                                  "error": {"code": "server_error", "message": TOO_LONG}}}],
    ],
    "gemini": [[{"error": {"code": 500, "status": "INTERNAL", "message": TOO_LONG}}]],
    "bedrock_converse": [
        [("messageStart", {"role": "assistant"}), (name, {"message": TOO_LONG})]
        for name in ("modelStreamErrorException", "internalServerException", "validationException")
    ],
}  # fmt: skip


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_context_that_is_full_is_told_in_words_that_agents_act_on(client: str, upstream: str) -> None:
    """Whatever the server calls it, and in mid-stream too."""
    word = {"anthropic_messages": b"prompt is too long: ", "openai_chat": b'"context_length_exceeded"',
            "openai_responses": b'"context_length_exceeded"'}.get(client, TOO_LONG.encode())  # fmt: skip
    for answer in OVERFLOWS[upstream] if client != upstream else ():
        _, t, out = told(client, upstream, answer)
        assert t.failed is not None and t.failed.kind.value == "invalid_request"
        assert word in out


# ---- what stands in odd places

NEEDLE = "needle-7f3a"
PLACES: dict[str, Any] = {
    "openai_chat": lambda value: {
        "id": "c", "choices": [{"message": {"role": "assistant", **value}, "finish_reason": "stop"}],
    },
    "anthropic_messages": lambda value: {
        "id": "m", "type": "message", "role": "assistant", "stop_reason": "end_turn", "usage": {}, **value,
    },
    "openai_responses": lambda value: {
        "id": "r", "status": "completed", "output": [{"type": "message", "role": "assistant", **value}],
    },
    "gemini": lambda value: {"candidates": [{"content": {"role": "model", **value}, "finishReason": "STOP"}]},
    "bedrock_converse": lambda value: {
        "output": {"message": {"role": "assistant", **value}}, "stopReason": "end_turn", "usage": {},
    },
}  # fmt: skip
KEYS = ("content", "text", "parts", "value", "output_text", "output", "message", "delta", "new_member")
ODD = st.recursive(
    st.just(NEEDLE),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=1),
        st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=1).map(
            lambda part: {"type": "text", **part}
        ),
    ),
    max_leaves=3,
)


@pytest.mark.rows("A15")
@pytest.mark.parametrize("upstream", UPSTREAMS)
@given(name=st.sampled_from(["content", "parts", "text", "output", "new_member"]), value=ODD)
@settings(max_examples=80, deadline=None)
def test_what_an_answer_says_is_told_or_is_a_loss(upstream: str, name: str, value: Json) -> None:
    """Wherever it stands, at any depth: an answer that was not understood never looks like an empty one."""
    for client in CLIENTS:
        if client == upstream:
            continue
        _, t, out = told(client, upstream, PLACES[upstream]({name: value}))
        assert NEEDLE.encode() in out or t.failed is not None or list(t.losses), (client, name, value)


PIECES: dict[str, Any] = {
    "openai_chat": lambda piece: [
        {"id": "c", "choices": [{"index": 0, "delta": piece}]},
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, "[DONE]",
    ],
    "anthropic_messages": lambda piece: [
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
        {"type": "content_block_delta", "index": 0, "delta": piece},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"},
    ],
    "openai_responses": lambda piece: [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece},
        {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
    ],
    "gemini": lambda piece: [{"candidates": [{"content": {"parts": [piece]}, "finishReason": "STOP"}]}],
    "bedrock_converse": lambda piece: [
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": piece}),
        ("messageStop", {"stopReason": "end_turn"}), ("metadata", {"usage": {}}),
    ],
}  # fmt: skip
"""A stream of one piece of an answer."""
PARTS: dict[str, Any] = {
    "openai_chat": lambda part: PLACES["openai_chat"]({"content": [part]}),
    "anthropic_messages": lambda part: PLACES["anthropic_messages"]({"content": [part]}),
    "openai_responses": lambda part: PLACES["openai_responses"]({"content": [part]}),
    "gemini": lambda part: PLACES["gemini"]({"parts": [part]}),
    "bedrock_converse": lambda part: PLACES["bedrock_converse"]({"content": [part]}),
}
"""The same whole."""
_HOLDERS = st.sampled_from(
    [
        ({"type": "text"}, "text"),
        ({"type": "text_delta"}, "text"),
        ({"type": "thinking"}, "thinking"),
        ({"type": "thinking_delta"}, "thinking"),
        ({"thought": True}, "text"),
        ({}, "text"),
        ({}, "content"),
        ({}, "reasoning_content"),
        ({}, "reasoningContent"),
        ({}, "new_member"),
    ]
)


@pytest.mark.rows("A15")
@pytest.mark.parametrize("upstream", UPSTREAMS)
@given(holder=_HOLDERS, value=ODD, client=st.sampled_from(CLIENTS), streamed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_a_piece_says_is_told_or_is_a_loss(
    upstream: str, holder: tuple[Json, str], value: Json, client: str, streamed: bool
) -> None:
    """The same of each piece of a stream, and of each part of a whole answer."""
    if client == upstream:
        return
    piece = {**holder[0], holder[1]: value}
    _, t, out = told(client, upstream, (PIECES if streamed else PARTS)[upstream](piece))
    assert NEEDLE.encode() in out or t.failed is not None or list(t.losses), (client, piece)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("upstream", "answer"),
    [
        ("openai_chat", [{"id": "c", "choices": [{"message": {"content": "he"}}]},
                         {"id": "c", "choices": [{"message": {"content": "llo"}, "finish_reason": "stop"}]}]),
        ("openai_chat", [{"id": "c", "choices": [{"message": {"content": "he"}}]},
                         {"id": "c", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}]),
        ("anthropic_messages", PLACES["anthropic_messages"]({"content": "hello"})),
        ("anthropic_messages", PLACES["anthropic_messages"]({"content": [{"text": "he"}, "llo"]})),
        ("anthropic_messages", [
            {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
            {"type": "content_block_delta", "index": 0, "delta": {"text": "he"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text", "text": "llo"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"},
        ]),
        ("openai_responses", PLACES["openai_responses"]({"content": "hello"})),
        ("openai_responses", PLACES["openai_responses"]({"content": [{"type": "text", "text": "hello"}]})),
        ("openai_responses", {"id": "r", "status": "completed", "output": [], "output_text": "hello"}),
        ("openai_responses", [
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hello"},
            {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
        ]),
        ("openai_responses", [
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_text.delta", "output_index": "0", "content_index": 0, "delta": {"text": "hello"}},
            {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
        ]),
        ("gemini", {"response": PLACES["gemini"]({"parts": [{"text": "hello"}]})}),
        ("gemini", PLACES["gemini"]({"parts": {"text": "hello"}})),
        ("gemini", {"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finish_reason": "STOP"}],
                    "usage_metadata": {"prompt_token_count": 1}, "model_version": "m", "response_id": "r"}),
        ("gemini", {"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": 1}]}),
        ("gemini", PLACES["gemini"]({"text": "hello"})),
        ("bedrock_converse", PLACES["bedrock_converse"]({"content": "hello"})),
        ("bedrock_converse", {"output": {"text": "hello"}, "stopReason": "end_turn", "usage": {}}),
        ("bedrock_converse", [
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "he"}}),
            ("messageStop", {"stopReason": "end_turn"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "llo"}}),
            ("metadata", {"usage": {}}),
        ]),
        # What Go's servers write beside a good answer.
        ("openai_responses", {
            "id": "", "status": "completed", "error": {"code": "", "message": ""}, "incomplete_details": {"reason": ""},
            "output": [
                {"type": "message", "id": "", "content": [{"type": "output_text", "text": "hello", "annotations": []}]},
                {"type": "function_call", "call_id": "", "name": "", "arguments": ""},
            ],
        }),
        ("gemini", {
            "candidates": [{
                "content": {"role": "", "parts": [
                    {"text": "hello", "thought": False, "functionCall": {"name": ""}, "thoughtSignature": ""},
                ]},
                "finishReason": "",
            }],
            "promptFeedback": {"blockReason": ""}, "error": {"code": 0, "message": ""},
        }),
        ("bedrock_converse", {
            "output": {"message": {"role": "", "content": [
                {"text": "hello", "toolUse": {"toolUseId": "", "name": "", "input": None}},
                {"toolUse": {"toolUseId": "", "name": "", "input": None}},
            ]}},
            "stopReason": "", "usage": {}, "message": "", "__type": "",
        }),
        ("anthropic_messages", {
            **PLACES["anthropic_messages"]({"content": [
                {"type": "text", "text": "hello", "id": ""}, {"type": "tool_use", "id": "", "name": "", "input": {}},
            ]}),
            "error": {"type": "", "message": ""}, "stop_reason": "", "id": "",
        }),
    ],
)  # fmt: skip
def test_text_in_an_odd_place_is_text(client: str, upstream: str, answer: Json) -> None:
    if client == upstream:
        return
    for step in (None, 1):
        folded, t, _ = told(client, upstream, answer, step=step)
        assert folded.failed is None
        assert "".join(block.text for block in folded.blocks if isinstance(block, TextBlock)) == "hello"
        assert not [loss for loss in t.losses if loss.path.startswith("response")]
