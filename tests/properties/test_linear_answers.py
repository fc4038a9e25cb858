"""What a provider can make long costs no more than its length: answers and streams of *n* of something."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from extproc.dialects.base import ResponseHead
from extproc.framing.eventstream import encode, encode_headers
from extproc.settings import Limits

from . import pipeline
from .growth import grows_with_its_length, spread

Json = Any
Made = Callable[[int], bytes]
CHAT, MESSAGES, RESPONSES, GEMINI, CONVERSE = CLIENTS = (
    "openai_chat", "anthropic_messages", "openai_responses", "gemini", "bedrock_converse",
)  # fmt: skip


def sse(events: list[Json], *, named: bool = False) -> bytes:
    said = []
    for event in events:
        head = f"event: {event['type']}\n" if named else ""
        said.append(f"{head}data: {json.dumps(event)}\n\n")
    return "".join(said).encode()


# ---- OpenAI Chat


def delta(finish: str | None = None, **members: Json) -> Json:
    choice = {"index": 0, "delta": members, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def call(i: int, arguments: str, **members: Json) -> Json:
    return {"index": i, "type": "function", "function": {"arguments": arguments, **members}}


def chat(deltas: list[Json], finish: str = "stop") -> bytes:
    return sse([delta(role="assistant", content="x"), *deltas, delta(finish)]) + b"data: [DONE]\n\n"


def named(i: int, id_: str = "t{}", arguments: str = "{}") -> Json:
    return delta(tool_calls=[{**call(i, arguments, name="f"), "id": id_.format(i)}])


ANNOTATION = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "title": "E", "url": "u"}}
CHATS: dict[str, Made] = {
    "texts": lambda n: chat([delta(content="x")] * n),
    "thoughts": lambda n: chat([delta(reasoning_content="x")] * n),
    "thoughts and texts in turn": lambda n: chat([delta(reasoning_content="x"), delta(content="x")] * n),
    "think tags": lambda n: chat([delta(content="<think>w</think>x")] * n),
    "calls": lambda n: chat([named(i) for i in range(n)], "tool_calls"),
    "calls of one id": lambda n: chat([named(i, "t") for i in range(n)], "tool_calls"),
    "calls of one index": lambda n: chat([{**named(i), "x": 1} for i in range(n)], "tool_calls"),
    "calls without ids": lambda n: chat([named(i, "") for i in range(n)], "tool_calls"),
    "calls in one event": lambda n: chat(
        [delta(tool_calls=[{**call(i, "{}", name="f"), "id": f"t{i}"} for i in range(n)])], "tool_calls"
    ),
    "pieces of an input": lambda n: chat(
        [named(0, arguments='{"a":"'), *[delta(tool_calls=[call(0, "x")])] * n, delta(tool_calls=[call(0, '"}')])],
        "tool_calls",
    ),
    "pieces without index": lambda n: chat(
        [*(named(i) for i in range(n)), *[delta(tool_calls=[{"function": {"arguments": " "}}])] * n], "tool_calls"
    ),
    "annotations": lambda n: chat([delta(annotations=[ANNOTATION])] * n),
    "annotations in one event": lambda n: chat([delta(annotations=[ANNOTATION] * n)]),
    "details of reasoning": lambda n: chat(
        [delta(reasoning_details=[{"type": "reasoning.text", "text": "t", "index": i}]) for i in range(n)]
    ),
    "unknown members": lambda n: chat([delta(None, content="x", **{f"x{i}": 1}) for i in range(n)]),
    "comments": lambda n: b": ping\n\n" * n + chat([]),
    "lines of one event": lambda n: b"data: \n" * n + b"\n" + chat([]),
    "one long event": lambda n: chat([delta(content="x" * 50 * n)]),
}

# ---- Anthropic Messages


def messages(inner: list[Json], stop: str = "end_turn") -> bytes:
    message = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    end = {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 2}}
    return sse([{"type": "message_start", "message": message}, *inner, end, {"type": "message_stop"}], named=True)


def block(i: int, started: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": i, "content_block": started},
        *({"type": "content_block_delta", "index": i, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": i},
    ]


def each_block(n: int, started: Json, *deltas: Json) -> list[Json]:
    return [event for i in range(n) for event in block(i, started, *deltas)]


TEXT, TEXT_DELTA = {"type": "text", "text": ""}, {"type": "text_delta", "text": "x"}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
THOUGHT, SEAL = {"type": "thinking_delta", "thinking": "w"}, {"type": "signature_delta", "signature": "S"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
CITATION = {
    "type": "citations_delta",
    "citation": {"type": "web_search_result_location", "cited_text": "x", "url": "u", "title": "t",
                 "encrypted_index": "e"},
}  # fmt: skip


def piece(text: str) -> Json:
    return {"type": "input_json_delta", "partial_json": text}


MESSAGESES: dict[str, Made] = {
    "texts": lambda n: messages(block(0, TEXT, *[TEXT_DELTA] * n)),
    "blocks": lambda n: messages(each_block(n, TEXT, TEXT_DELTA)),
    "thoughts": lambda n: messages(each_block(n, THINKING, THOUGHT, SEAL)),
    "pieces of a thought": lambda n: messages(block(0, THINKING, *[THOUGHT] * n, SEAL)),
    "calls": lambda n: messages(
        [event for i in range(n) for event in block(i, {**USE, "id": f"t{i}"}, piece("{}"))], "tool_use"
    ),
    "calls of one id": lambda n: messages(each_block(n, USE, piece("{}")), "tool_use"),
    "pieces of an input": lambda n: messages(
        block(0, USE, piece('{"a":"'), *[piece("x")] * n, piece('"}')), "tool_use"
    ),
    "citations": lambda n: messages(block(0, TEXT, TEXT_DELTA, *[CITATION] * n)),
    "citations and texts in turn": lambda n: messages(block(0, TEXT, *[TEXT_DELTA, CITATION] * n)),
    "searches": lambda n: messages(
        each_block(n, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, piece("{}"))
    ),
    "pings": lambda n: messages([{"type": "ping"}] * n),
    "unknown events": lambda n: messages([{"type": "new_thing", "a": 1}] * n),
}

# ---- OpenAI Responses

OBJECT = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": []}


def responses(inner: list[Json], output: list[Json]) -> bytes:
    done = {**OBJECT, "status": "completed", "output": output, "usage": {"input_tokens": 1, "output_tokens": 1}}
    return sse(
        [{"type": "response.created", "response": OBJECT}, *inner, {"type": "response.completed", "response": done}],
        named=True,
    )


def item(i: int, started: Json, finished: Json, *inner: Json) -> list[Json]:
    where = {"output_index": i, "item_id": started["id"]}
    return [
        {"type": "response.output_item.added", "output_index": i, "item": started},
        *({**where, **each} for each in inner),
        {"type": "response.output_item.done", "output_index": i, "item": finished},
    ]


def message(i: int, inner: list[Json], text: str = "x") -> tuple[list[Json], Json]:
    part = {"type": "output_text", "text": text, "annotations": []}
    whole = {"id": f"m{i}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    begun = {**whole, "status": "in_progress", "content": []}
    of_part = {"content_index": 0, "part": {**part, "text": ""}}
    return item(i, begun, whole, {"type": "response.content_part.added", **of_part}, *inner), whole


def function(i: int, pieces: list[str]) -> tuple[list[Json], Json]:
    whole = {"id": f"f{i}", "type": "function_call", "call_id": f"t{i}", "name": "f", "arguments": "".join(pieces)}
    said = [{"type": "response.function_call_arguments.delta", "delta": each} for each in pieces]
    return item(i, {**whole, "arguments": ""}, whole, *said), whole


def reasoning(i: int) -> tuple[list[Json], Json]:
    whole = {"id": f"rs{i}", "type": "reasoning", "summary": [{"type": "summary_text", "text": "w"}]}
    said = {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "w"}
    return item(i, {**whole, "summary": []}, whole, said), whole


def in_turn(pairs: list[tuple[list[Json], Json]]) -> bytes:
    return responses([event for events, _ in pairs for event in events], [whole for _, whole in pairs])


OUTPUT = {"type": "response.output_text.delta", "content_index": 0, "delta": "x"}
CITED = {
    "type": "response.output_text.annotation.added", "content_index": 0, "annotation_index": 0,
    "annotation": {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "u"},
}  # fmt: skip
RESPONSESES: dict[str, Made] = {
    "texts": lambda n: in_turn([message(0, [OUTPUT] * n, "x" * n)]),
    "messages": lambda n: in_turn([message(i, [OUTPUT]) for i in range(n)]),
    "calls": lambda n: in_turn([function(i, ["{}"]) for i in range(n)]),
    "pieces of an input": lambda n: in_turn([function(0, ['{"a":"', *["x"] * n, '"}'])]),
    "thoughts": lambda n: in_turn([reasoning(i) for i in range(n)]),
    "citations": lambda n: in_turn([message(0, [OUTPUT, *[CITED] * n])]),
    "unknown events": lambda n: responses([{"type": "response.new", "a": 1}] * n, []),
}

# ---- Gemini


def gemini(contents: list[list[Json]], **members: Json) -> bytes:
    chunks = [{"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}]} for parts in contents]
    end = {"candidates": [{"index": 0, "finishReason": "STOP", **members}], "usageMetadata": {"promptTokenCount": 1}}
    return sse([*chunks, end])


def called(i: int, **members: Json) -> Json:
    return {"functionCall": {"name": "f", "args": {"a": i}, **members}}


def grounded(n: int, end: int = 1) -> Json:
    return {
        "groundingChunks": [{"web": {"uri": f"u{i}", "title": "t"}} for i in range(n)],
        "groundingSupports": [
            {"segment": {"startIndex": end - 1, "endIndex": end, "text": "x"}, "groundingChunkIndices": [i]}
            for i in range(n)
        ],
    }


GEMINIS: dict[str, Made] = {
    "texts": lambda n: gemini([[{"text": "x"}]] * n),
    "parts": lambda n: gemini([[{"text": "x"}] * n]),
    "thoughts": lambda n: gemini([[{"text": "w", "thought": True}], [{"text": "x"}]] * n),
    "calls": lambda n: gemini([[called(i)] for i in range(n)]),
    "calls of one id": lambda n: gemini([[called(i, id="t")] for i in range(n)]),
    "calls in one event": lambda n: gemini([[called(i) for i in range(n)]]),
    "grounding of a long text": lambda n: gemini(
        [[{"text": "\u00e9" * 500 * n}]], groundingMetadata=grounded(n, 900 * n)
    ),
    "grounding of each text": lambda n: sse(
        [{"candidates": [{"content": {"parts": [{"text": "x" * 50}]}, "groundingMetadata": grounded(1)}]}] * n
        + [{"candidates": [{"finishReason": "STOP"}]}]
    ),
    "grounding": lambda n: gemini([[{"text": "x"}]], groundingMetadata=grounded(n)),
    "citations": lambda n: gemini(
        [[{"text": "x"}]], citationMetadata={"citationSources": [{"startIndex": 0, "endIndex": 1, "uri": "u"}] * n}
    ),
    "code": lambda n: gemini([[{"executableCode": {"language": "PYTHON", "code": "1"}}]] * n),
}

# ---- Bedrock Converse


def converse(events: list[tuple[str, Json]], stop: str = "end_turn") -> bytes:
    whole = [("messageStart", {"role": "assistant"}), *events, ("messageStop", {"stopReason": stop}),
             ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}})]  # fmt: skip
    return b"".join(
        encode(
            encode_headers({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}),
            json.dumps(event).encode(),
        )
        for kind, event in whole
    )


def converse_block(i: int, *deltas: Json, start: Json = None) -> list[tuple[str, Json]]:
    begun = [("contentBlockStart", {"contentBlockIndex": i, "start": start})] if start else []
    said = [("contentBlockDelta", {"contentBlockIndex": i, "delta": each}) for each in deltas]
    return [*begun, *said, ("contentBlockStop", {"contentBlockIndex": i})]


def used(i: int) -> Json:
    return {"toolUse": {"toolUseId": f"t{i}", "name": "f"}}


CONVERSES: dict[str, Made] = {
    "texts": lambda n: converse(converse_block(0, *[{"text": "x"}] * n)),
    "blocks": lambda n: converse([event for i in range(n) for event in converse_block(i, {"text": "x"})]),
    "calls": lambda n: converse(
        [event for i in range(n) for event in converse_block(i, {"toolUse": {"input": "{}"}}, start=used(i))],
        "tool_use",
    ),
    "pieces of an input": lambda n: converse(
        converse_block(0, *[{"toolUse": {"input": each}} for each in ('{"a":"', *"x" * n, '"}')], start=used(0)),
        "tool_use",
    ),
    "thoughts": lambda n: converse(converse_block(0, *[{"reasoningContent": {"text": "w"}}] * n)),
    "citations": lambda n: converse(
        converse_block(0, {"text": "x"}, *[{"citation": {"title": "t", "location": {"web": {"url": "u"}}}}] * n)
    ),
}
UPSTREAMS: dict[str, dict[str, Made]] = {
    CHAT: CHATS, MESSAGES: MESSAGESES, RESPONSES: RESPONSESES, GEMINI: GEMINIS, CONVERSE: CONVERSES,
}  # fmt: skip
CASES = [
    pytest.param(client, upstream, make, id=f"{upstream}-{client}-{name}")
    for upstream, cases in UPSTREAMS.items()
    for place, (name, make) in enumerate(cases.items())
    for client in spread(CLIENTS, place, 2)
]


def running(client: str, upstream: str, data: bytes, size: int, *, stream: bool = True) -> Callable[[], object]:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    def run() -> object:
        response = pipeline.translated(client, upstream, stream=stream)
        out = [response.feed(each, False) for each in pieces]
        return [*out, response.feed(b"", True)]

    return run


@pytest.mark.parametrize(("client", "upstream", "make"), CASES)
def test_time_grows_with_a_stream(client: str, upstream: str, make: Made) -> None:
    grows_with_its_length(lambda n: running(client, upstream, make(n), 4096))


@pytest.mark.parametrize(("client", "upstream", "make"), CASES[::2])
def test_time_grows_with_a_stream_that_becomes_a_whole_answer(client: str, upstream: str, make: Made) -> None:
    grows_with_its_length(lambda n: running(client, upstream, make(n), 65536, stream=False))


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_time_grows_with_the_number_of_pieces(upstream: str) -> None:
    """One event that comes byte by byte, or nearly so."""
    longs: dict[str, Made] = {
        CHAT: lambda n: chat([delta(content="x" * 10 * n)]),
        MESSAGES: lambda n: messages(block(0, TEXT, {"type": "text_delta", "text": "x" * 10 * n})),
        RESPONSES: lambda n: in_turn([message(0, [{**OUTPUT, "delta": "x" * 10 * n}], "x" * 10 * n)]),
        GEMINI: lambda n: gemini([[{"text": "x" * 10 * n}]]),
        CONVERSE: lambda n: converse(converse_block(0, {"text": "x" * 10 * n})),
    }
    long = longs[upstream]
    grows_with_its_length(lambda n: running(MESSAGES, upstream, long(n), 7))


def test_every_stream_is_read_to_a_good_end() -> None:
    for upstream, cases in UPSTREAMS.items():
        for name, make in cases.items():
            assert pipeline.parse(upstream, make(3))[-1].__class__.__name__ == "ResponseEnded", (upstream, name)
    assert Limits() and ResponseHead(200)
