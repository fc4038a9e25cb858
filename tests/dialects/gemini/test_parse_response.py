from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import Folded, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock, folded
from extproc.llm.losses import LossReport

from .helpers import GOLDEN, JSON, Json, golden, parsed

K, STOP = ErrorKind, e.StopReason
SIGNATURE = "CiQB0e2Kb1/+AA=="


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
                said.append((block.id, block.name, block.input, block.signature))
            case OpaqueBlock():
                said.append(("opaque", *block.content))
    if folded.failed:
        return [*said, (folded.failed.kind, folded.failed.message)]
    assert folded.ended
    return [*said, folded.ended.stop]


GOLDENS: dict[str, list[object]] = {
    "text": [("text", "The capital of France is Paris. Grüße 東京 😀"), STOP.END],
    "thinking_and_call": [
        ("thinking", "**Checking**\n\nI need the weather.", None),
        ("fc-1", "get_weather", '{"city":"Paris","days":[1,2]}', SIGNATURE), ("fc-2", "get_time", "", None), STOP.END,
    ],
    "signature_on_text": [("text", "The answer is 42."), ("thinking", "", "EpwCCpkCAXLI2nwyG+/w"), STOP.END],
    "calls_without_ids": [
        ("text", "Let me look."), ("", "read_file", '{"path":"a \\"b\\"\\\\c.txt"}', None),
        ("", "read_file", '{"path":"b","n":1500.0}', None), STOP.END,
    ],
    "max_tokens": [("text", "Once upon a"), STOP.MAX_TOKENS],
    "safety": [("text", "First you"), STOP.REFUSAL],
    "blocked_prompt": [STOP.REFUSAL],
    "malformed_call": [
        ("text", "Calling"),
        (K.API, "the upstream broke off: MALFORMED_FUNCTION_CALL: Malformed function call: print(default_api.f("),
    ],
    "error_midstream": [("text", "Once"), (K.OVERLOADED, "The model is overloaded. Please try again later.")],
    "grounded": [("text", "Größe: Paris has 2,1 million people. It grows."), STOP.END],
    "code_execution": [
        ("opaque", "executableCode"), ("opaque", "codeExecutionResult"), ("text", "It is 2."), STOP.END,
    ],
    "truncated": [("text", "Once upon a time"), (K.API, "upstream stream ended prematurely")],
}  # fmt: skip


def messages(name: str) -> list[Json]:
    return [json.loads(line[6:]) for line in golden(name).split(b"\n") if line.startswith(b"data: ")]


def as_array(name: str, *, between: str = ",\r\n", end: str = "]") -> bytes:
    elements = [json.dumps(each, ensure_ascii=False, indent=1) for each in messages(name)]
    return f"[{between.join(elements)}{end}".encode()


def test_every_golden_stream_is_told() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sse")} == set(GOLDENS)


@pytest.mark.parametrize(("name", "expected"), GOLDENS.items(), ids=GOLDENS)
@pytest.mark.parametrize("step", [1, 13, None])
def test_golden(name: str, expected: list[object], step: int | None) -> None:
    assert summary(folded(parsed(golden(name), step=step))) == expected


@pytest.mark.parametrize(("name", "expected"), GOLDENS.items(), ids=GOLDENS)
@pytest.mark.parametrize("step", [1, 7, None])
def test_a_stream_that_is_an_array_says_the_same(name: str, expected: list[object], step: int | None) -> None:
    assert parsed(as_array(name), content_type=JSON, step=step) == parsed(golden(name))
    # Where nobody asked for a stream, the same array is a whole answer.
    whole = summary(folded(parsed(as_array(name), content_type=JSON, stream=False)))
    assert whole[:-1] == expected[:-1]


@pytest.mark.parametrize("name", GOLDENS)
def test_an_array_that_was_cut_never_looks_complete(name: str) -> None:
    whole = as_array(name)
    last = whole.rindex(b'{\n "candidates"') if b"candidates" in whole else 1
    for cut in range(1, last, 7):
        assert folded(parsed(whole[:cut], content_type=JSON)).failed is not None


def test_start_and_end() -> None:
    events = parsed(golden("thinking_and_call"))
    # What the first chunk counts: a Messages client is told it at the start.
    first = e.Usage(40, 21, None, None, 21)
    assert events[0] == e.ResponseStarted("kX8oaYb2Gp6V", "gemini-2.5-flash", first)
    usage = e.Usage(40, 56, 16, None, 31)
    assert events[-1] == e.ResponseEnded(STOP.END, usage, native_reason="STOP")


def test_what_tools_read_counts_as_input() -> None:
    ended = folded(parsed(golden("grounded"))).ended
    assert ended is not None
    assert ended.usage == e.Usage(51, 12)
    assert ended.extra == {
        "groundingMetadata": {
            "webSearchQueries": ["paris population"], "searchEntryPoint": {"renderedContent": "<div></div>"},
        }
    }  # fmt: skip


# ---- parts and candidates as they may also come


def answer(*parts: Json, finish: str | None = "STOP", **members: Any) -> Json:
    candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], **members}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (answer({"text": "a"}, {"text": "b"}), [("text", "ab"), STOP.END]),
        (answer({"text": "t", "thought": True}, {"text": "a"}), [("thinking", "t", None), ("text", "a"), STOP.END]),
        (answer({"text": "t", "thought": True, "thoughtSignature": "S"}), [("thinking", "t", "S"), STOP.END]),
        (answer({"text": "a", "thoughtSignature": "S"}, {"text": "b"}),
         [("text", "a"), ("thinking", "", "S"), ("text", "b"), STOP.END]),
        (answer({"thoughtSignature": "S"}), [("thinking", "", "S"), STOP.END]),
        (answer({"functionCall": {"name": "f"}}), [("", "f", "", None), STOP.END]),
        (answer({"inlineData": {"mimeType": "image/png", "data": "x"}}), [("opaque", "inlineData"), STOP.END]),
        (answer(), [STOP.END]),
        ({"candidates": [{"finishReason": "STOP"}]}, [STOP.END]),
        ({"candidates": [{"index": 1, "finishReason": "SAFETY"}, {"content": {}, "finishReason": "STOP"}]}, [STOP.END]),
        (answer({}, 3, None, {"text": "a"}), [("text", "a"), STOP.END]),  # type: ignore[arg-type]
        (answer({"text": "a"}, finish="RECITATION"), [("text", "a"), STOP.REFUSAL]),
        (answer({"text": "a"}, finish="CONTINUATION"), [("text", "a"), STOP.MAX_TOKENS]),
        (answer({"text": "a"}, finish="NEW_WORD"), [("text", "a"), STOP.OTHER]),
        (answer(finish="UNEXPECTED_TOOL_CALL"), [(K.API, "the upstream broke off: UNEXPECTED_TOOL_CALL")]),
        (answer({"text": "a"}, finish=None), [
            ("text", "a"), (K.API, "the upstream's answer has no candidate that has finished")]),
        ({"candidates": []}, [(K.API, "the upstream's answer has no candidate that has finished")]),
        ({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}}, [STOP.REFUSAL]),
        ([answer({"text": "a"}, finish=None), answer({"text": "b"})], [("text", "ab"), STOP.END]),
        ([{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], [(K.INVALID_REQUEST, "bad")]),
    ],
    ids=str,
)  # fmt: skip
def test_whole(body: Any, expected: list[object]) -> None:
    assert summary(folded(parsed(body, stream=False))) == expected


@pytest.mark.parametrize(
    ("body", "explanation", "native"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}}, "no", "SAFETY"),
        ({"promptFeedback": {"blockReason": "JAILBREAK"}}, "the prompt was blocked: JAILBREAK", "JAILBREAK"),
        (answer(finish="SPII"), "stopped: SPII", "SPII"),
        ({"candidates": [{"finishReason": "SAFETY", "finishMessage": "why"}]}, "why", "SAFETY"),
    ],
)
def test_why_it_was_refused(body: Json, explanation: str, native: str) -> None:
    ended = folded(parsed(body)).ended
    assert ended is not None
    assert (ended.explanation, ended.native_reason) == (explanation, native)


def test_a_word_that_nobody_knows_is_said_to_be_lost() -> None:
    losses = LossReport()
    parsed(answer({"text": "a"}, finish="NEW_WORD"), losses=losses)
    assert [str(loss) for loss in losses] == ["response.candidates[0].finishReason:downgraded"]


def test_what_is_not_known_is_kept() -> None:
    events = parsed(answer({"text": "a"}, modelStatus={"x": 1}, createTime="2026-11-02T00:00:00Z"))
    assert events[0] == e.ResponseStarted("", "asked", created=1793577600, extra={"modelStatus": {"x": 1}})


@pytest.mark.parametrize("text", ["x", "", 3, None, "2026-13-45T00:00:00Z"])
def test_a_time_that_is_none(text: Any) -> None:
    [started, *_] = parsed(answer({"text": "a"}, createTime=text))
    assert isinstance(started, e.ResponseStarted)
    assert started.created is None


def test_a_second_candidate_and_a_finish_before_the_last_parts() -> None:
    """Newer models finish in a later message than the call; some say more after the word."""
    wire = b"".join(
        b"data: " + msgspec.json.encode(each) + b"\n\n"
        for each in (answer({"text": "a"}), answer({"text": "b"}, finish=None, usageMetadata={"promptTokenCount": 3}))
    )
    whole = folded(parsed(wire))
    assert summary(whole) == [("text", "ab"), STOP.END]
    assert whole.usage.input_tokens == 3


def test_thoughts_that_another_gateway_sealed_are_told_once() -> None:
    seal = base64.b64encode(b"gw1.s.anthropic-claude-v1.SIG").decode()
    carried = base64.b64encode(b'gw1.c.[["why","SIG",null,"anthropic-claude-v1"]]').decode()
    call = {"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": carried}
    shown = answer({"text": "why", "thought": True, "thoughtSignature": seal}, call)
    expected = [("thinking", "why", "SIG"), ("c", "f", "", None), STOP.END]
    assert summary(folded(parsed(shown))) == expected
    assert summary(folded(parsed(answer(call)))) == expected


WORDS = (
    "args blockReason candidates citationMetadata citations content details error finishReason functionCall "
    "groundingChunks groundingMetadata groundingSupports messages name parts promptFeedback segment text thought "
    "thoughtSignature uri usageMetadata web"
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_whatever_comes_ends_the_response_once(body: Any) -> None:
    parsed(msgspec.json.encode(body), content_type=JSON, stream=False)
    parsed(b"data: " + msgspec.json.encode(body) + b"\n\n")
    parsed(b"[" + msgspec.json.encode(body) + b"]", content_type=JSON)
