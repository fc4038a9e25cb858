"""Streams that never end: whatever a server goes on with, what is kept of it stops growing, and the client is told.

Every kind of thing that a stream can go on with, in each API, told to a client of each: what passes on as it comes may
do so for ever in little memory, all else ends the response as failed, in the client's own words.
"""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from extproc import Translation
from extproc.framing import eventstream
from extproc.llm.kept import CODE
from extproc.settings import Limits

Json = Any
BOUND = 20 * 1024
FED = 12 * BOUND
ROOM = 6 * BOUND
"""What may be there of a stream at the most: an estimate is no measure."""


def sse(event: Json, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(event).encode() + b"\n\n"


def chat(**delta: Json) -> bytes:
    return sse({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]})


def chat_call(n: int, function: Json, **members: Json) -> bytes:
    return chat(tool_calls=[{"index": n, "function": function, **members}])


def messages(kind: str, **members: Json) -> bytes:
    return sse({"type": kind, **members}, kind)


def block(start: Json, index: int = 0) -> bytes:
    return messages("content_block_start", index=index, content_block=start)


def delta(kind: str, **members: Json) -> bytes:
    return messages("content_block_delta", index=0, delta={"type": kind, **members})


def responses(kind: str, **members: Json) -> bytes:
    return sse({"type": kind, **members}, kind)


def gemini(*parts: Json, **members: Json) -> bytes:
    return sse({"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **members}]})


def converse(kind: str, **members: Json) -> bytes:
    headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    return eventstream.encode(eventstream.encode_headers(headers), json.dumps(members).encode())


def converse_delta(**delta: Json) -> bytes:
    return converse("contentBlockDelta", contentBlockIndex=0, delta=delta)


X = "x" * 40
MESSAGE_START = messages("message_start", message={"id": "m", "model": "m", "role": "assistant", "content": []})
CITED = {"type": "web_search_result_location", "url": "https://e.test", "title": X, "cited_text": X}
TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
CREATED = responses("response.created", response={"id": "r", "model": "m"})
ITEM: Json = {"type": "function_call", "call_id": "t", "name": "f", "arguments": ""}
WEB = {"web": {"uri": "https://e.test", "title": X}}

Kind = tuple[bytes, Callable[[int], bytes]]
"""What begins the stream, and what it goes on with: the n-th piece."""
KINDS: dict[str, dict[str, Kind]] = {
    "openai_chat": {
        "text": (b"", lambda n: chat(content=X)),
        "one text": (b"", lambda n: chat(content="y")),
        "parts of a text": (b"", lambda n: chat(content=[{"type": "text", "text": X}])),
        "refusal": (b"", lambda n: chat(refusal=X)),
        "reasoning": (b"", lambda n: chat(reasoning_content=X)),
        "reasoning in tags": (chat(content="<think>"), lambda n: chat(content=X)),
        "blanks before a tag": (b"", lambda n: chat(content=" " * 40)),
        "details": (b"", lambda n: chat(reasoning_details=[{"type": "reasoning.text", "text": X, "index": 0}])),
        "signed details": (
            b"",
            lambda n: chat(reasoning_details=[{"type": "reasoning.text", "text": X, "signature": X, "index": n}]),
        ),
        "encrypted details": (b"", lambda n: chat(reasoning_details=[{"type": "reasoning.encrypted", "data": X}])),
        "input": (
            chat_call(0, {"name": "f"}, id="t"),
            lambda n: chat_call(0, {"arguments": '{"a": "' if not n else X}),
        ),
        "input of an array": (chat_call(0, {"name": "f"}, id="t"), lambda n: chat_call(0, {"arguments": X})),
        "input without a name": (b"", lambda n: chat_call(0, {"arguments": X})),
        "input without a name beside text": (
            b"",
            lambda n: chat(content="y", tool_calls=[{"index": 0, "function": {"arguments": X}}]),
        ),
        "text beside an open call": (
            chat_call(0, {"name": "f", "arguments": '{"a'}, id="t"),
            lambda n: chat(content=X),
        ),
        "blanks beside an open call": (
            chat_call(0, {"name": "f", "arguments": '{"a'}, id="t"),
            lambda n: chat(content=" " * 40),
        ),
        "calls": (b"", lambda n: chat_call(n, {"name": "f", "arguments": "{}"}, id=f"t{n}")),
        "calls between texts": (
            b"",
            lambda n: chat_call(n, {"name": "f", "arguments": "{}"}, id=f"t{n}") + chat(content=X),
        ),
        "calls without names": (b"", lambda n: chat_call(n, {"arguments": ""}, id=f"t{n}")),
        "a name in pieces": (b"", lambda n: chat_call(0, {"name": "g"}, id="t")),
        "annotations": (
            chat(content="a"),
            lambda n: chat(annotations=[{"type": "url_citation", "url_citation": {"url": X}}]),
        ),
        "usage": (b"", lambda n: sse({"choices": [], "usage": {"prompt_tokens": n, f"other_{n}": n}})),
        "unknown members": (b"", lambda n: chat(**{f"member_{n}": X})),
        "other choices": (b"", lambda n: sse({"choices": [{"index": n, "delta": {"content": X}}]})),
        "finish words": (b"", lambda n: sse({"choices": [{"index": 0, "delta": {}, "finish_reason": f"stop{n}"}]})),
        "comments": (b"", lambda n: b": " + X.encode() + b"\n\n"),
        "nothing": (b"", lambda n: chat()),
        "unknown events": (b"", lambda n: sse({"a": X}, f"event{n}")),
    },
    "anthropic_messages": {
        "text": (MESSAGE_START + block({"type": "text", "text": ""}), lambda n: delta("text_delta", text=X)),
        "thinking": (
            MESSAGE_START + block({"type": "thinking", "thinking": ""}),
            lambda n: delta("thinking_delta", thinking=X),
        ),
        "signatures": (
            MESSAGE_START + block({"type": "thinking", "thinking": ""}),
            lambda n: delta("signature_delta", signature=X),
        ),
        "input": (
            MESSAGE_START + block(TOOL_USE),
            lambda n: delta("input_json_delta", partial_json='{"a": "' if not n else X),
        ),
        "citations": (
            MESSAGE_START + block({"type": "text", "text": ""}),
            lambda n: delta("citations_delta", citation=CITED),
        ),
        "calls": (
            MESSAGE_START,
            lambda n: block({**TOOL_USE, "id": f"t{n}"}, n) + messages("content_block_stop", index=n),
        ),
        "open calls": (MESSAGE_START, lambda n: block({**TOOL_USE, "id": f"t{n}"}, n)),
        "redacted": (MESSAGE_START, lambda n: block({"type": "redacted_thinking", "data": X}, n)),
        "opaque": (MESSAGE_START, lambda n: block({"type": "server_tool_use", "id": X, "name": "w", "input": {}}, n)),
        "opaque deltas": (
            MESSAGE_START + block({"type": "server_tool_use", "id": X, "name": "w", "input": {}}),
            lambda n: delta("input_json_delta", partial_json=X),
        ),
        "texts": (MESSAGE_START, lambda n: block({"type": "text", "text": X}, n)),
        "usage": (MESSAGE_START, lambda n: messages("message_delta", delta={}, usage={f"u{n}": n})),
        "unknown members": (MESSAGE_START, lambda n: messages("message_delta", delta={f"m{n}": X})),
        "pings": (MESSAGE_START, lambda n: messages("ping")),
    },
    "openai_responses": {
        "text": (
            CREATED,
            lambda n: responses("response.output_text.delta", output_index=0, content_index=0, delta=X),
        ),
        "texts": (CREATED, lambda n: responses("response.output_text.delta", output_index=n, content_index=0, delta=X)),
        "refusal": (CREATED, lambda n: responses("response.refusal.delta", output_index=0, content_index=0, delta=X)),
        "summary": (
            CREATED,
            lambda n: responses("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta=X),
        ),
        "reasoning items": (
            CREATED,
            lambda n: responses(
                "response.output_item.done",
                output_index=n,
                item={"type": "reasoning", "summary": [], "encrypted_content": X},
            ),
        ),
        "input": (
            CREATED + responses("response.output_item.added", output_index=0, item=ITEM),
            lambda n: responses(
                "response.function_call_arguments.delta", output_index=0, delta='{"a": "' if not n else X
            ),
        ),
        "calls": (
            CREATED,
            lambda n: responses("response.output_item.done", output_index=n, item={**ITEM, "call_id": f"t{n}"}),
        ),
        "open calls": (
            CREATED,
            lambda n: responses("response.output_item.added", output_index=n, item={**ITEM, "call_id": f"t{n}"}),
        ),
        "annotations": (
            CREATED + responses("response.output_text.delta", output_index=0, content_index=0, delta=X),
            lambda n: responses(
                "response.output_text.annotation.added",
                output_index=0,
                content_index=0,
                annotation={"type": "url_citation", "url": "https://e.test", "title": X},
            ),
        ),
        "opaque": (
            CREATED,
            lambda n: responses("response.output_item.done", output_index=n, item={"type": "web_search_call", "id": X}),
        ),
        "lifecycle": (CREATED, lambda n: responses("response.in_progress", response={"id": "r", "instructions": X})),
        "unknown events": (CREATED, lambda n: responses(f"response.other.{n}", delta=X)),
    },
    "gemini": {
        "text": (b"", lambda n: gemini({"text": X})),
        "thoughts": (b"", lambda n: gemini({"text": X, "thought": True})),
        "sealed thoughts": (b"", lambda n: gemini({"text": X, "thought": True, "thoughtSignature": "AAAA"})),
        "calls": (b"", lambda n: gemini({"functionCall": {"name": "f", "id": f"t{n}", "args": {"a": X}}})),
        "pieces of a call": (
            gemini({"functionCall": {"name": "f", "id": "t", "willContinue": True}}),
            lambda n: gemini(
                {"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": X}], "willContinue": True}}
            ),
        ),
        "pieces of a call beside text": (
            gemini({"functionCall": {"name": "f", "id": "t", "willContinue": True}}),
            lambda n: gemini(
                {"text": "y"},
                {"functionCall": {"partialArgs": [{"jsonPath": f"$.a{n}", "stringValue": X}], "willContinue": True}},
            ),
        ),
        "elements of an array": (
            gemini({"functionCall": {"name": "f", "id": "t", "willContinue": True}}),
            lambda n: gemini(
                {
                    "functionCall": {
                        "partialArgs": [{"jsonPath": "$.a" + f"[{9_000}]" * 9 + f".b{n}", "boolValue": True}],
                        "willContinue": True,
                    }
                }
            ),
        ),
        "grounding": (
            b"",
            lambda n: gemini({"text": "y"}, groundingMetadata={"groundingChunks": [WEB], "groundingSupports": []}),
        ),
        "code": (b"", lambda n: gemini({"executableCode": {"language": "PYTHON", "code": X}})),
        "usage": (b"", lambda n: sse({"usageMetadata": {"promptTokenCount": n}})),
    },
    "bedrock_converse": {
        "text": (converse("messageStart", role="assistant"), lambda n: converse_delta(text=X)),
        "thinking": (b"", lambda n: converse_delta(reasoningContent={"text": X})),
        "signatures": (b"", lambda n: converse_delta(reasoningContent={"signature": X})),
        "redacted": (b"", lambda n: converse_delta(reasoningContent={"redactedContent": "AAAA"})),
        "input": (
            converse("contentBlockStart", contentBlockIndex=0, start={"toolUse": {"toolUseId": "t", "name": "f"}}),
            lambda n: converse_delta(toolUse={"input": '{"a": "' if not n else X}),
        ),
        "calls": (
            b"",
            lambda n: (
                converse(
                    "contentBlockStart", contentBlockIndex=n, start={"toolUse": {"toolUseId": f"t{n}", "name": "f"}}
                )
                + converse("contentBlockStop", contentBlockIndex=n)
            ),
        ),
        "citations": (
            b"",
            lambda n: converse_delta(citation={"location": {"web": {"url": "https://e.test"}}, "title": X}),
        ),
        "opaque": (b"", lambda n: converse("contentBlockStart", contentBlockIndex=n, start={"image": {"format": X}})),
        "metadata": (b"", lambda n: converse("metadata", usage={"inputTokens": n})),
    },
}
CLIENTS = ("openai_chat", "anthropic_messages", "openai_responses", "gemini", "bedrock_converse")
CASES = [
    pytest.param(client, upstream, kind, id=f"{client}-{upstream}-{kind}")
    for client, upstream in itertools.product(CLIENTS, KINDS)
    for kind in KINDS[upstream]
]


FAILED = {
    "openai_chat": "answer_too_large",
    "anthropic_messages": '"type":"error"',
    "openai_responses": '"response.failed"',
    "gemini": '"error":{"code":502',
    "bedrock_converse": "have to be kept until its end",
}
"""How each API says in a stream that it has failed."""


def asked(client: str, *, stream: bool) -> bytes:
    text = [{"text": "hi"}]
    content: Json = {
        "openai_responses": {"input": "hi"},
        "gemini": {"contents": [{"role": "user", "parts": text}]},
        "bedrock_converse": {"messages": [{"role": "user", "content": text}]},
    }.get(client, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9})
    return json.dumps({"model": "m", **content, **({"stream": True} if stream else {})}).encode()


PATHS = {
    "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse",
    "bedrock_converse": "/model/m/converse-stream",
}


def go_on(client: str, upstream: str, kind: str, *, stream: bool) -> tuple[Translation, int, bytes]:
    """A stream that goes on for FED bytes, or until it has ended: what is kept of it then, what the client got last."""
    t = Translation(client, upstream, limits=Limits(max_kept_bytes=BOUND))
    t.request(asked(client, stream=stream), path=PATHS.get(client, "") if stream else "")
    begin, piece = KINDS[upstream][kind]
    bedrock = upstream == "bedrock_converse"
    t.response_head(200, [("content-type", "application/vnd.amazon.eventstream" if bedrock else "text/event-stream")])
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        last, size = t.response_body(begin), 0
        for n in itertools.count():
            data = piece(n)
            size += len(data)
            last = t.response_body(data) or last
            if size > FED or t.failed is not None or t.ended is not None:
                break
        return t, tracemalloc.get_traced_memory()[0] - before, last
    finally:
        tracemalloc.stop()


@pytest.mark.rows("A25")
@pytest.mark.parametrize(("client", "upstream", "kind"), CASES)
def test_what_is_kept_of_a_stream_is_bounded(client: str, upstream: str, kind: str) -> None:
    t, grown, last = go_on(client, upstream, kind, stream=True)
    assert grown < ROOM
    if client == upstream:
        assert t.failed is None or t.failed.code != CODE, "what passes need not be kept"
    elif t.failed is not None and t.failed.code == CODE:
        assert FAILED[client].encode() in last
        assert t.response_body(KINDS[upstream][kind][1](0)) == b"", "nothing follows the failure"


@pytest.mark.parametrize(("upstream", "kind"), [(upstream, kind) for upstream in KINDS for kind in KINDS[upstream]])
def test_a_stream_for_a_client_that_wants_a_whole_answer_is_bounded(upstream: str, kind: str) -> None:
    client = "openai_chat" if upstream != "openai_chat" else "anthropic_messages"
    t, grown, _ = go_on(client, upstream, kind, stream=False)
    assert grown < ROOM
    if t.failed is not None and t.failed.code == CODE:
        body = json.loads(t.response_body(b"", end_of_stream=True))
        assert (t.head.status, "have to be kept" in body["error"]["message"]) == (502, True)


KEPT_FOR = {
    ("openai_chat", "text"): ["openai_responses", "gemini"],
    ("anthropic_messages", "text"): ["openai_responses", "gemini"],
    ("openai_chat", "reasoning"): [*CLIENTS],
    ("openai_chat", "input"): [*CLIENTS],
    ("openai_chat", "input without a name"): [*CLIENTS],
    ("openai_chat", "text beside an open call"): [*CLIENTS],
    ("openai_chat", "annotations"): [*CLIENTS],
    ("anthropic_messages", "citations"): [*CLIENTS],
    ("anthropic_messages", "pings"): [],
    ("openai_chat", "comments"): [],
    ("openai_responses", "opaque"): [*CLIENTS],
    ("openai_responses", "refusal"): [*CLIENTS],
    ("gemini", "pieces of a call"): [*CLIENTS],
    ("bedrock_converse", "signatures"): [*CLIENTS],
}


@pytest.mark.parametrize(("upstream", "kind"), KEPT_FOR)
def test_a_stream_ends_as_failed_where_it_is_kept_and_only_there(upstream: str, kind: str) -> None:
    ended = []
    for client in CLIENTS:
        t, _, _ = go_on(client, upstream, kind, stream=True)
        if t.failed is not None:
            assert (t.failed.code, t.failed.status) == (CODE, 502)
            ended.append(client)
    assert ended == [client for client in KEPT_FOR[upstream, kind] if client != upstream]


def test_where_the_pieces_are_cut_does_not_matter() -> None:
    wire = KINDS["openai_chat"]["reasoning"][1](0) * (BOUND // 100)
    told = set()
    for size in (len(wire), 1000, 77):
        t = Translation("anthropic_messages", "openai_chat", limits=Limits(max_kept_bytes=BOUND))
        t.request(asked("anthropic_messages", stream=True))
        t.response_head(200, [("content-type", "text/event-stream")])
        told.add(b"".join(t.response_body(wire[at : at + size]) for at in range(0, len(wire), size)))
        assert t.failed is not None and t.failed.code == CODE
    assert len(told) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_an_error_without_end_is_replaced(client: str) -> None:
    """Errors are read whole, whatever passes otherwise."""
    t = Translation(client, client, limits=Limits(max_response_bytes=BOUND))
    t.request(asked(client, stream=True), path=PATHS.get(client, ""))
    t.response_head(500, [("content-type", "application/json")])
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    told = b"".join(t.response_body(b'{"error": {"message": "' + b"x" * 1000) for _ in range(FED // 1000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert (told, grown < ROOM) == (b"", True)
    body = t.response_body(b"", end_of_stream=True)
    assert b"larger than" in body and t.head.status == 502 and len(body) < 1000


HOUR = """
import json, resource, sys
from extproc import Translation
route = json.loads(sys.argv[1])
body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "I am a@example.com"}]}
t = Translation("anthropic_messages", "openai_chat", route={"provider": "openai", "auth": "none", **route}, now=1.0)
t.request(json.dumps(body).encode(), "POST", "/v1/messages", [])
t.response_head(200, [("content-type", "text/event-stream")])
choice = {"index": 0, "delta": {"content": " word of [EMAIL_1]"}, "finish_reason": None}
event = b"data: " + json.dumps({"id": "c" * 40, "object": "chat.completion.chunk", "created": 1, "model": "m" * 20,
                               "system_fingerprint": "f" * 20, "choices": [choice]}).encode() + b"\\n\\n"
told, peaks = 0, []
for second in range(3600):
    told += len(t.response_body(event * 100))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
assert t.failed is None and told > 100 * 360_000 - 1, (t.failed, told)
print(len(event) * 360_000, (peaks[-1] - peaks[60]) * 1024)
"""


@pytest.mark.parametrize("route", [{}, {"policies": [{"redact": {"recognisers": ["email"]}}]}], ids=["", "redacted"])
def test_an_hour_of_a_fast_model_takes_no_more_memory_than_its_first_minute(route: Json) -> None:
    """A hundred pieces a second, of text that nobody has to keep; as a process sees it, with the bounds as they are."""
    done = subprocess.run([sys.executable, "-c", HOUR, json.dumps(route)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size, grown = map(int, done.stdout.split())
    assert size > 60_000_000 and grown < 8 * 1024 * 1024
