from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import Folded, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock, folded

from .helpers import GOLDEN, Json, parsed, sse

ENCRYPTED = "gAAAAABor0Ay5XhZ0p1uQ7Yw3Lk2-3y_Wq9cJt7x=="


def summary(folded: Folded) -> list[object]:
    """The blocks in a few words, and how it ended."""
    said: list[object] = []
    for block in folded.blocks:
        match block:
            case TextBlock():
                said.append(("refusal" if block.refusal else "text", block.text))
            case ThinkingBlock():
                said.append(("thinking", block.text, block.encrypted or block.signature))
            case ToolCallBlock():
                said.append((block.kind, block.id, block.name, block.input))
            case OpaqueBlock():
                said.append(("opaque", block.content["type"]))
    if folded.failed:
        return [*said, (folded.failed.kind, folded.failed.message)]
    assert folded.ended
    return [*said, folded.ended.stop]


GOLDENS: dict[str, list[object]] = {
    "text": [("text", 'The capital of France is Paris. Grüße, 東京 😀\n"quoted" \\ done'), e.StopReason.END],
    "reasoning": [
        ("thinking", "**Weighing the question**\n\nThen the answer", ENCRYPTED), ("text", "42."), e.StopReason.END,
    ],
    "reasoning_text": [("thinking", "The user says hi.", None), ("text", "Hi!"), e.StopReason.END],
    "tools_parallel": [
        ("text", "Let me look. "), ("function", "call_9FhU2", "get_weather", '{"city":"Paris"}'),
        ("function", "call_tR83q", "get_time", '{"tz":"Europe/Paris"}'), e.StopReason.TOOL_CALL,
    ],
    "tools_interleaved": [
        ("function", "call_a", "alpha", '{"x":"}{"}'), ("function", "call_b", "beta", '{"y":[1,2]}'),
        ("function", "call_c", "gamma", "{}"), e.StopReason.TOOL_CALL,
    ],
    "error": [("text", "Once upon"), (ErrorKind.RATE_LIMIT, "Too Many Requests")],
    "failed": [("text", "Once upon"), (ErrorKind.API, "The model produced an invalid output.")],
    "truncated": [("text", "Once upon"), (ErrorKind.API, "upstream stream ended prematurely")],
    "incomplete": [("text", "Once upon"), e.StopReason.MAX_TOKENS],
    "refusal": [("refusal", "I'm sorry, I can't help with that."), e.StopReason.REFUSAL],
    "agent_turn": [
        ("thinking", "**Reading**\n\nI read the file.\n\n**Then**\n\nI look for a tool.", "gAAAAABo_sealed-1=="),
        ("text", "I look."), ("function", "call_Kq1", "read", '{"path":"a.txt"}'), ("opaque", "tool_search_call"),
        e.StopReason.TOOL_CALL,
    ],
    "hosted_tools": [
        ("opaque", "code_interpreter_call"), ("opaque", "mcp_call"), ("opaque", "image_generation_call"),
        ("text", "See a.csv, naïve ☃."), e.StopReason.END,
    ],
    # Without any numbers, of items, parts or events.
    "llamacpp": [("text", "Hello there. I"), e.StopReason.END],
    "web_search": [("opaque", "web_search_call"), ("text", "Rain today."), e.StopReason.END],
}  # fmt: skip


def test_every_golden_stream_is_told() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sse")} == set(GOLDENS)


@pytest.mark.parametrize(("name", "expected"), GOLDENS.items(), ids=GOLDENS)
@pytest.mark.parametrize("step", [1, 13, None])
def test_golden(name: str, expected: list[object], step: int | None) -> None:
    assert summary(folded(parsed((GOLDEN / f"{name}.sse").read_bytes(), step=step))) == expected


@pytest.mark.parametrize("name", [name for name, told in GOLDENS.items() if isinstance(told[-1], e.StopReason)])
def test_a_whole_response_is_told_as_its_stream(name: str) -> None:
    stream = (GOLDEN / f"{name}.sse").read_bytes()
    last = stream.removesuffix(b"data: [DONE]\n\n").rstrip().rpartition(b"data: ")[2]
    whole = folded(parsed(msgspec.json.decode(last)["response"]))
    streamed = folded(parsed(stream))
    assert summary(whole) == GOLDENS[name]
    assert whole.ended == streamed.ended
    if name != "llamacpp":  # which says at first neither its model nor the time
        assert whole.started == streamed.started


def test_start_and_end() -> None:
    events = parsed((GOLDEN / "text.sse").read_bytes())
    started, ended = events[0], events[-1]
    assert started == e.ResponseStarted("resp_68af4030baa48193b0b43b4c2a176a1a", "gpt-5-2026-08-07", created=1792600000)
    usage = e.Usage(1300, 12, 1024, 200, 0)
    assert ended == e.ResponseEnded(e.StopReason.END, usage, native_reason="completed", service_tier="standard")


def test_citation() -> None:
    whole = folded(parsed((GOLDEN / "web_search.sse").read_bytes()))
    [block] = [block for block in whole.blocks if isinstance(block, TextBlock)]
    [citation] = block.citations
    assert (citation.kind, citation.url, citation.title) == (
        "url", "https://example.com/w?utm_source=openai", "Weather",
    )  # fmt: skip
    assert (citation.start, citation.end) == (0, 10)


# ---- streams as other servers write them

CREATED = {"type": "response.created", "response": {"id": "r", "model": "m", "output": []}}


def completed(*output: Json, status: str = "completed", **members: Any) -> Json:
    return {"type": f"response.{status}", "response": {"id": "r", "model": "m", "output": list(output), **members}}


def added(item: Json, index: int = 0) -> Json:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: Json, index: int = 0) -> Json:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(text: str, type_: str = "output_text", **at: int) -> Json:
    return {"type": f"response.{type_}.delta", "output_index": 0, "content_index": 0, "delta": text} | at


def message(*parts: Json) -> Json:
    return {"type": "message", "id": "msg", "role": "assistant", "content": list(parts)}


def part(text: str, **members: Any) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], **members}


CALL: Json = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}
CUSTOM: Json = {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "f", "input": ""}
REASONING: Json = {"type": "reasoning", "id": "rs", "summary": []}
SUMMARY: Json = {"type": "summary_text", "text": "why"}
STOP = e.StopReason


def carrier(*blocks: Json) -> str:
    return "anthropic:" + base64.b64encode(msgspec.json.encode(list(blocks))).decode()


SIGNED: Json = {"type": "thinking", "thinking": "why", "signature": "SIG"}
REDACTED: Json = {"type": "redacted_thinking", "data": "RED"}

STREAMS: dict[str, tuple[list[Json], list[object]]] = {
    "nothing before the text": ([delta("a"), completed()], [("text", "a"), STOP.END]),
    "nothing but the end": ([completed(message(part("a")), CALL | {"arguments": "{}"})],
                            [("text", "a"), ("function", "c", "f", "{}"), STOP.TOOL_CALL]),
    "no numbers": ([CREATED, {"type": "response.output_text.delta", "delta": "a"}, completed()],
                   [("text", "a"), STOP.END]),
    "text only when done": ([CREATED, done(message(part("a"), part("b"))), completed()],
                            [("text", "a"), ("text", "b"), STOP.END]),
    "a part longer than its deltas": (
        [CREATED, delta("a"), {"type": "response.content_part.done", "output_index": 0, "content_index": 0,
                               "part": part("abc")}, done(message(part("abc"))), completed()],
        [("text", "abc"), STOP.END],
    ),
    "no text at all": ([CREATED, delta(""), done(message(part(""))), completed()], [STOP.END]),
    "a call in one piece": ([CREATED, done(CALL | {"arguments": '{"a":1}'}), completed()],
                            [("function", "c", "f", '{"a":1}'), STOP.TOOL_CALL]),
    "a call's input at its start": (
        [CREATED, added(CALL | {"arguments": '{"a"'}), delta(":1}", "function_call_arguments"),
         done(CALL | {"arguments": '{"a":1}'}), completed()],
        [("function", "c", "f", '{"a":1}'), STOP.TOOL_CALL],
    ),
    "a free-form call": (
        [CREATED, added(CUSTOM), delta("say", "custom_tool_call_input"), done(CUSTOM | {"input": "say hi"}),
         completed()],
        [("custom", "c", "f", "say hi"), STOP.TOOL_CALL],
    ),
    "items that never end": ([CREATED, delta("a"), added(CALL, 1), completed()],
                             [("text", "a"), ("function", "c", "f", ""), STOP.TOOL_CALL]),
    "a summary when done": ([CREATED, done(REASONING | {"summary": [SUMMARY, SUMMARY]}), completed()],
                            [("thinking", "why\n\nwhy", None), STOP.END]),
    "the text and a summary of it": (
        [CREATED, delta("raw", "reasoning_text"), delta("short", "reasoning_summary_text", summary_index=0),
         done(REASONING), completed()],
        [("thinking", "raw", None), STOP.END],
    ),
    "nothing but a seal": ([CREATED, done(REASONING | {"encrypted_content": "gA"}), completed()],
                           [("thinking", "", "gA"), STOP.END]),
    "reasoning without a trace": ([CREATED, done(REASONING), completed()], [STOP.END]),
    "Claude's thinking": (
        [CREATED, delta("why", "reasoning_summary_text", summary_index=0),
         done(REASONING | {"encrypted_content": carrier(SIGNED)}), completed()],
        [("thinking", "why", "SIG"), STOP.END],
    ),
    "Claude's thinking, redacted": ([CREATED, done(REASONING | {"encrypted_content": carrier(REDACTED)}), completed()],
                                    [("thinking", "", "RED"), STOP.END]),
    "Claude's thinking, several": (
        [CREATED, done(REASONING | {"summary": [SUMMARY], "encrypted_content": carrier(SIGNED, REDACTED)}),
         completed()],
        [("thinking", "why", "SIG"), ("thinking", "", "RED"), STOP.END],
    ),
    "a signature over another text": (
        [CREATED, done(REASONING | {"summary": [SUMMARY], "encrypted_content": carrier(SIGNED | {"thinking": "x"})}),
         completed()],
        [("thinking", "why", None), STOP.END],
    ),
    "a broken carrier": ([CREATED, done(REASONING | {"encrypted_content": "anthropic:%"}), completed()],
                         [("thinking", "", "anthropic:%"), STOP.END]),
    "unknown events and items": (
        [{"type": "response.new"}, CREATED, {"type": 3}, added({"type": "new"}), done({"type": "new", "a": 1}),
         completed()],
        [("opaque", "new"), STOP.END],
    ),
    "cut off by the filter": (
        [CREATED, completed(status="incomplete", incomplete_details={"reason": "content_filter"})], [STOP.REFUSAL]
    ),
    "cut off, it does not say why": ([CREATED, completed(status="incomplete")], [STOP.MAX_TOKENS]),
    "cut off for a new reason": (
        [CREATED, completed(status="incomplete", incomplete_details={"reason": "steered"})], [STOP.PAUSED]
    ),
    "a flat error": ([CREATED, {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None}],
                     [(ErrorKind.RATE_LIMIT, "slow")]),
    "an error first": ([{"type": "error", "error": {"type": "server_error", "message": "no"}}],
                       [(ErrorKind.API, "no")]),
    "an error without a type": ([{"error": {"message": "no", "code": 503}}], [(ErrorKind.OVERLOADED, "no")]),
    "cancelled": ([CREATED, completed(status="cancelled") | {"response": {"status": "cancelled"}}],
                  [(ErrorKind.API, "the response ended as cancelled")]),
    "more after the end": ([CREATED, completed(), delta("late")], [STOP.END]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), STREAMS.values(), ids=STREAMS)
def test_stream(events: list[Json], expected: list[object]) -> None:
    assert summary(folded(parsed(sse(*[{"type": ""} | event for event in events])))) == expected


def test_keep_alives() -> None:
    events = parsed(b": ping\n\n" + sse(CREATED, {"type": "keepalive"}, completed()))
    assert [type(event) for event in events] == [e.KeepAlive, e.ResponseStarted, e.KeepAlive, e.ResponseEnded]


def test_signers() -> None:
    [_, _, sealed, *_] = parsed(sse(CREATED, done(REASONING | {"encrypted_content": "gA"}), completed()))
    assert sealed == e.ThinkingSealed(0, encrypted="gA", signer="openai-responses-v1")
    [_, _, sealed, *_] = parsed(sse(CREATED, done(REASONING | {"encrypted_content": carrier(REDACTED)}), completed()))
    assert sealed == e.ThinkingSealed(0, encrypted="RED", signer="anthropic-claude-v1")


def test_what_is_new_in_a_response_is_kept() -> None:
    ended = parsed(sse(CREATED, completed(moderation={"a": 1}, conversation=None, tool_choice="auto")))[-1]
    assert isinstance(ended, e.ResponseEnded)
    assert ended.extra == {"moderation": {"a": 1}}


def test_a_namespace_is_kept() -> None:
    [_, call, *_] = parsed(sse(CREATED, done(CALL | {"namespace": "crm"}), completed()))
    assert call == e.ToolCallStarted(0, "c", "f", extra={"namespace": "crm"})


# ---- whole

BODY: Json = {"id": "r", "object": "response", "model": "m", "status": "completed", "created_at": 7, "output": []}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [STOP.END]),
        ({"output": None, "usage": None}, [STOP.END]),
        ({"output": [message(part("a")), 3, None, {}]}, [("text", "a"), STOP.END]),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, [STOP.MAX_TOKENS]),
        ({"status": "failed", "error": {"code": "server_error", "message": "no"}}, [(ErrorKind.API, "no")]),
        ({"status": "failed"}, [(ErrorKind.API, "the response ended as failed")]),
        ({"status": "in_progress"}, [(ErrorKind.API, "the response is in_progress: it was made in the background")]),
        ({"error": {"message": "no", "code": "rate_limit_exceeded"}}, [(ErrorKind.RATE_LIMIT, "no")]),
    ],
)  # fmt: skip
def test_whole(members: Json, expected: list[object]) -> None:
    events = parsed(BODY | members)
    if not isinstance(expected[-1], tuple):
        assert events[0] == e.ResponseStarted("r", "m", created=7)
    assert summary(folded(events)) == expected


def test_usage_survives_nulls() -> None:
    usage: Json = {"input_tokens": 3, "input_tokens_details": None, "output_tokens": None, "output_tokens_details": {}}
    assert folded(parsed(BODY | {"usage": usage})).usage == e.Usage(3)


# ---- whatever comes

JUNK = st.one_of(st.binary(max_size=10), st.sampled_from([b"null", b"[]", b"{}", b"3", b'"x"', b"\n\n", b"data: "]))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GOLDEN.glob("*.sse"))), st.data())
def test_mutated_streams_end_legally(path: Path, data: st.DataObject) -> None:
    blob = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(blob)))
        blob[start : start + data.draw(st.integers(0, 60))] = data.draw(JUNK)
    step = data.draw(st.sampled_from([None, 50]))
    assert parsed(bytes(blob), step=step) == parsed(bytes(blob))


WORDS = st.sampled_from(["", "x", "message", "reasoning", "function_call"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["type", "item", "output_index", "delta", "content", "text", "summary", "response", "output", "error", "part"]
    ), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
TYPES = st.sampled_from(
    [f"response.{name}" for name in (
        "created", "output_item.added", "output_item.done", "content_part.done", "output_text.delta", "completed",
        "function_call_arguments.delta", "reasoning_summary_text.delta", "output_text.annotation.added", "failed",
    )] + ["error"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.tuples(TYPES, st.dictionaries(st.sampled_from(
    ["item", "output_index", "content_index", "delta", "part", "response", "annotation", "error", "summary_index"]
), VALUES, max_size=4)), max_size=6))  # fmt: skip
def test_events_of_the_right_names_and_any_content(events: list[tuple[str, Json]]) -> None:
    parsed(sse(*({"type": type_} | members for type_, members in events)))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["output", "status", "usage", "error", "id", "incomplete_details"]), VALUES))
def test_whole_bodies_of_any_content(body: Json) -> None:
    parsed(body)
