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

from .helpers import GOLDEN, Json, frame, parsed

K, STOP = ErrorKind, e.StopReason
CLAUDE = "anthropic-claude-v1"


def summary(folded: Folded) -> list[object]:
    """The blocks in a few words, and how it ended."""
    said: list[object] = []
    for block in folded.blocks:
        match block:
            case TextBlock():
                said.append(("text", block.text))
            case ThinkingBlock():
                said.append(("thinking", block.text, block.encrypted or block.signature))
            case ToolCallBlock():
                said.append((block.id, block.name, block.input))
            case OpaqueBlock():
                said.append(("opaque", *block.content))
    if folded.failed:
        return [*said, (folded.failed.kind, folded.failed.message)]
    assert folded.ended
    return [*said, folded.ended.stop]


GOLDENS: dict[str, list[object]] = {
    "text": [("text", "The capital of France is Paris. Grüße 東京 😀"), STOP.END],
    "reasoning": [
        ("thinking", "Let me think", "EqoBCkgIARABGAIiQL2UoU0b1OHYi+yCHpBY7U6FQW8="), ("text", "42"), STOP.END,
    ],
    "redacted": [
        ("thinking", "", "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP"), ("text", "Done."),
        STOP.END,
    ],
    "tools_parallel": [
        ("text", "Let me look."), ("tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", "get_weather", '{"city": "Paris"}'),
        ("tooluse_9hrjF2b2Qzy", "get_time", ""), ("tooluse_x1", "add", '{"a":[1,{"b":"]}"}]}'), STOP.TOOL_CALL,
    ],
    "guardrail": [("text", "Sorry, the model cannot answer this question."), STOP.REFUSAL],
    "exception": [("text", "Once upon"), (K.RATE_LIMIT, "Too many tokens, please wait before trying again.")],
    "truncated": [("text", "Once upon a time"), (K.API, "upstream stream ended prematurely")],
    "max_tokens": [("text", "Once upon a"), STOP.MAX_TOKENS],
    "no_metadata": [("text", "No counts."), STOP.END],
    "citations": [("opaque", "toolUse"), ("text", "Rain today."), ("text", " Stay in."), STOP.STOP_SEQUENCE],
}  # fmt: skip


def test_every_golden_stream_is_told() -> None:
    assert {path.stem for path in GOLDEN.glob("*.bin")} == set(GOLDENS)


@pytest.mark.parametrize(("name", "expected"), GOLDENS.items(), ids=GOLDENS)
@pytest.mark.parametrize("step", [1, 13, None])
def test_golden(name: str, expected: list[object], step: int | None) -> None:
    assert summary(folded(parsed((GOLDEN / f"{name}.bin").read_bytes(), step=step))) == expected


def test_start_and_end() -> None:
    events = parsed((GOLDEN / "text.bin").read_bytes(), headers=[("x-amzn-requestid", "q1")])
    assert events[0] == e.ResponseStarted("q1", "asked")
    # inputTokens leaves the cache out: 3 + 1712 read + 236 written.
    assert events[-1] == e.ResponseEnded(STOP.END, e.Usage(1951, 121, 1712, 236), native_reason="end_turn")


def test_what_is_new_in_a_response_is_kept() -> None:
    ended = folded(parsed((GOLDEN / "guardrail.bin").read_bytes())).ended
    assert ended is not None
    assert ended.native_reason == "guardrail_intervened"
    assert ended.extra == {"trace": {"guardrail": {"inputAssessment": {"4lxgv5imuo8v": {}}}}}


def test_citation_and_stop_sequence() -> None:
    answer = folded(parsed((GOLDEN / "citations.bin").read_bytes()))
    text = answer.blocks[1]
    assert isinstance(text, TextBlock)
    [citation] = text.citations
    assert (citation.kind, citation.url, citation.title, citation.cited_text) == (
        "url", "https://example.com/w", "Weather", "rain",
    )  # fmt: skip
    assert answer.ended is not None
    assert answer.ended.stop_sequence == "END"
    assert answer.ended.extra is None


# ---- streams as they may also come


def start(index: int, **of: Any) -> bytes:
    return frame("contentBlockStart", {"contentBlockIndex": index, "start": of})


def delta(index: int, **of: Any) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": index, "delta": of})


def end(index: int) -> bytes:
    return frame("contentBlockStop", {"contentBlockIndex": index})


STARTED = frame("messageStart", {"role": "assistant"})
TOOL: Json = {"toolUseId": "t", "name": "f"}
METADATA = frame("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}})


def stopped(reason: str | None = "end_turn") -> bytes:
    return frame("messageStop", {"stopReason": reason}) + METADATA


TWO = base64.b64encode(b"\xff\x00").decode()
STREAMS: dict[str, tuple[bytes, list[object]]] = {
    "no start": (delta(0, text="a") + stopped(), [("text", "a"), STOP.END]),
    "no stops of blocks": (STARTED + delta(0, text="a") + delta(1, text="b") + stopped(),
                           [("text", "a"), ("text", "b"), STOP.END]),
    "no content": (STARTED + stopped(), [STOP.END]),
    "empty text": (STARTED + delta(0, text="") + end(0) + stopped(), [STOP.END]),
    "one index for all": (
        STARTED + delta(0, reasoningContent={"text": "r"}) + delta(0, text="a") + start(0, toolUse=TOOL) + stopped(),
        [("thinking", "r", None), ("text", "a"), ("t", "f", ""), STOP.END],
    ),
    "text goes on behind its stop": (STARTED + delta(0, text="a") + end(0) + delta(0, text="b") + stopped(),
                                     [("text", "a"), ("text", "b"), STOP.END]),
    "interleaved": (
        STARTED + start(0, toolUse=TOOL) + start(1, toolUse=TOOL) + delta(0, toolUse={"input": "{"})
        + delta(1, toolUse={"input": "[]"}) + delta(0, toolUse={"input": "}"}) + stopped("tool_use"),
        [("t", "f", "{}"), ("t", "f", ""), STOP.TOOL_CALL],
    ),
    "an input that is an object": (STARTED + start(0, toolUse=TOOL) + delta(0, toolUse={"input": {"a": 1}}) + stopped(),
                                   [("t", "f", '{"a":1}'), STOP.END]),
    "input without a start": (STARTED + delta(0, toolUse={"input": "{"}) + stopped(), [
        (K.API, "the upstream broke its protocol: contentBlockDelta.delta.toolUse: the block's start is missing"),
    ]),
    "a signature in pieces": (
        STARTED + delta(0, reasoningContent={"text": "r"}) + delta(0, reasoningContent={"signature": "A"})
        + delta(0, reasoningContent={"signature": "B"}) + end(0) + stopped(),
        [("thinking", "r", "AB"), STOP.END],
    ),
    "redacted bytes that are no text": (STARTED + delta(0, reasoningContent={"redactedContent": TWO}) + stopped(),
                                        [("thinking", "", TWO), STOP.END]),
    "metadata first": (STARTED + METADATA + frame("messageStop", {"stopReason": "max_tokens"}), [STOP.MAX_TOKENS]),
    "more behind the stop": (STARTED + frame("messageStop", {"stopReason": "end_turn"}) + delta(0, text="x") + METADATA,
                             [("text", "x"), STOP.END]),
    "an unknown reason": (STARTED + stopped("new"), [STOP.OTHER]),
    "no reason": (STARTED + stopped(None), [STOP.END]),
    "unknown events and deltas": (frame("initial-response", b"") + STARTED + frame("new", {"a": 1}) + delta(0, new=1)
                                  + stopped(), [STOP.END]),
    "an image": (STARTED + start(0, image={"format": "png"}) + delta(0, image={"source": {"bytes": "QQ=="}}) + end(0)
                 + stopped(), [("opaque", "image"), STOP.END]),
    "one event that is no JSON": (STARTED + frame("contentBlockDelta", b"{") + delta(0, text="a") + stopped(), [
        (K.API, "the upstream broke its protocol: event: not JSON: Input data was truncated"),
    ]),
    "an unmodeled error": (
        STARTED + frame("InternalFailure", {"message": "oops"}, message_type="error"), [(K.API, "oops")]
    ),
    "an exception first": (frame("validationException", {"message": "Input is too long for requested model."},
                                 message_type="exception"),
                           [(K.INVALID_REQUEST, "Input is too long for requested model.")]),
    "an exception without a body": (frame("serviceUnavailableException", b"", message_type="exception"),
                                    [(K.OVERLOADED, "the upstream reported an error without a message")]),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS)
def test_stream(stream: bytes, expected: list[object]) -> None:
    assert summary(folded(parsed(stream))) == expected
    assert parsed(stream, step=1) == parsed(stream)


def test_text_comes_before_what_is_corrupt() -> None:
    stream = STARTED + delta(0, text="a") + delta(0, text="b")
    broken = stream[:-1] + bytes((stream[-1] ^ 1,)) + stopped()
    events = parsed(broken)
    assert events[2] == e.TextDelta(0, "a")
    assert isinstance(events[-1], e.ResponseFailed)
    assert "checksum" in events[-1].message
    assert all(parsed(broken, step=step) == events for step in (1, 3, 50))


def test_signers() -> None:
    stream = STARTED + delta(0, reasoningContent={"redactedContent": TWO}) + end(0)
    stream += delta(1, reasoningContent={"text": "r"}) + delta(1, reasoningContent={"signature": "S"}) + stopped()
    seals = [event for event in parsed(stream) if isinstance(event, e.ThinkingSealed)]
    assert [seal.signer for seal in seals] == ["bedrock-converse", CLAUDE]


# ---- whole

WHOLE: list[tuple[Json, list[object]]] = [
    ({"output": {"message": {"role": "assistant", "content": [{"text": "a"}, {"text": "b"}]}}},
     [("text", "a"), ("text", "b"), STOP.END]),
    ({"output": {"message": {"content": [{"toolUse": TOOL | {"input": {"a": [1]}}}]}}, "stopReason": "tool_use"},
     [("t", "f", '{"a":[1]}'), STOP.TOOL_CALL]),
    ({"output": {"message": {"content": [{"toolUse": TOOL}]}}}, [("t", "f", ""), STOP.END]),
    ({"output": {"message": {"content": [{"reasoningContent": {"reasoningText": {"text": "r", "signature": "S"}}}]}}},
     [("thinking", "r", "S"), STOP.END]),
    ({"output": {"message": {"content": [{"reasoningContent": {"redactedContent": "UkVE"}}]}}},
     [("thinking", "", "RED"), STOP.END]),
    ({"output": {"message": {"content": [{"citationsContent": {"content": [{"text": "a"}], "citations": [{}]}}]}}},
     [("text", "a"), STOP.END]),
    ({"output": {"message": {"content": [{"toolUse": TOOL | {"type": "server_tool_use"}}, {"guardContent": {}}]}}},
     [("opaque", "toolUse"), ("opaque", "guardContent"), STOP.END]),
    ({"output": None, "stopReason": "end_turn"}, [STOP.END]),
    ({"stopReason": "guardrail_intervened", "usage": None}, [STOP.REFUSAL]),
    ({}, [STOP.END]),
    ({"message": "no"}, [(K.API, "no")]),
    ({"Message": "no", "__type": "ThrottlingException"}, [(K.RATE_LIMIT, "no")]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), WHOLE)
def test_whole(body: Json, expected: list[object]) -> None:
    assert summary(folded(parsed(body))) == expected


def test_usage_and_tier() -> None:
    usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 9, "cacheReadInputTokens": 2}
    ended = folded(parsed({"output": {}, "usage": usage, "serviceTier": {"type": "default"}, "metrics": {}})).ended
    assert ended == e.ResponseEnded(STOP.END, e.Usage(5, 4, 2), service_tier="standard")


# ---- whatever comes


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GOLDEN.glob("*.bin"))), st.data())
def test_mutated_streams_end_legally(path: Path, data: st.DataObject) -> None:
    blob = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(blob)))
        blob[at : at + data.draw(st.integers(0, 60))] = data.draw(st.binary(max_size=10))
    assert parsed(bytes(blob), step=50) == parsed(bytes(blob))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["text", "toolUse", "toolUseId", "name", "input", "reasoningContent", "signature", "redactedContent",
         "citation", "location", "web", "url", "sourceContent", "message", "content", "citationsContent", "citations",
         "type"]
    ), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
MEMBERS = ["contentBlockIndex", "start", "delta", "stopReason", "usage", "additionalModelResponseFields", "serviceTier"]
EVENTS = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(MEMBERS), VALUES)), max_size=6))
def test_events_of_the_right_names_and_any_content(events: list[tuple[str, Json]]) -> None:
    parsed(b"".join(frame(name, members) for name, members in events))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["output", "message", "__type", *MEMBERS]), VALUES))
def test_whole_bodies_of_any_content(body: Json) -> None:
    parsed(body)
    parsed({"output": {"message": {"content": [body]}}})


def with_unknown_members(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_unknown_members(each) for name, each in value.items()} | {"x_new": {"a": [1, None]}}
    return value


def test_unknown_members_change_nothing() -> None:
    payloads: list[tuple[str, Json]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": TOOL}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2}}),
    ]
    plain = parsed(b"".join(frame(name, payload) for name, payload in payloads))
    more = parsed(b"".join(frame(name, with_unknown_members(payload)) for name, payload in payloads))
    assert more[:-1] == plain[:-1]
    assert isinstance(more[-1], e.ResponseEnded)
    assert more[-1].extra == {"x_new": {"a": [1, None]}}
    assert msgspec.structs.replace(more[-1], extra=None) == plain[-1]
