from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from extproc.dialects.base import Meta
from extproc.llm import events as e
from extproc.llm import marker
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import folded
from extproc.llm.losses import LossReport

from .helpers import Json, emitted, messages_of, parsed

CLAUDE = "anthropic-claude-v1"
END = e.BlockEnded
STARTED = e.ResponseStarted("r", "m")
USAGE = e.Usage(10, 5, 4, 2, 3)
METADATA = ("metadata", {
    "usage": {
        "inputTokens": 4, "outputTokens": 5, "totalTokens": 15, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 2,
    },
    "metrics": {"latencyMs": 0},
})  # fmt: skip


def response(*blocks: e.ResponseEvent, stop: e.StopReason = e.StopReason.END, **ended: Any) -> list[e.ResponseEvent]:
    return [STARTED, *blocks, e.ResponseEnded(stop, ended.pop("usage", USAGE), **ended)]


def delta(index: int, **of: Any) -> tuple[str, Json]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": of}


def tool(index: int, id_: str, name: str) -> tuple[str, Json]:
    start = {"toolUse": {"toolUseId": id_, "name": name}}
    return "contentBlockStart", {"contentBlockIndex": index, "start": start}


def end(index: int) -> tuple[str, Json]:
    return "contentBlockStop", {"contentBlockIndex": index}


URL = e.Citation("url", "other", url="https://a", title="A", cited_text="x")
WEB = {"title": "A", "sourceContent": [{"text": "x"}], "location": {"web": {"url": "https://a"}}}
SERVER_TOOL = {"toolUseId": "s", "type": "server_tool_use"}

Told = list[tuple[str, Json]]
CASES: dict[str, tuple[list[e.ResponseEvent], Told, list[Json]]] = {
    "text": (
        [e.TextStarted(0), e.TextDelta(0, "a"), e.TextDelta(0, ""), e.TextDelta(0, "é"), END(0)],
        [delta(0, text="a"), delta(0, text="é"), end(0)],
        [{"text": "aé"}],
    ),
    "text that stays empty is no block": (
        [e.TextStarted(0), END(0), e.ThinkingStarted(1), END(1), e.TextStarted(2), e.TextDelta(2, "a"), END(2)],
        [delta(0, text="a"), end(0)],
        [{"text": "a"}],
    ),
    "thinking": (
        [e.ThinkingStarted(0), e.ThinkingDelta(0, "r"), e.ThinkingSealed(0, "S", signer=CLAUDE), END(0)],
        [delta(0, reasoningContent={"text": "r"}), delta(0, reasoningContent={"signature": "S"}), end(0)],
        [{"reasoningContent": {"reasoningText": {"text": "r", "signature": "S"}}}],
    ),
    "redacted thinking": (
        [e.ThinkingStarted(0), e.ThinkingSealed(0, encrypted="RED", signer=CLAUDE), END(0)],
        [delta(0, reasoningContent={"redactedContent": "UkVE"}), end(0)],
        [{"reasoningContent": {"redactedContent": "UkVE"}}],
    ),
    "redacted thinking that was no text": (
        [e.ThinkingStarted(0), e.ThinkingSealed(0, encrypted="/wA=", signer="bedrock-converse"), END(0)],
        [delta(0, reasoningContent={"redactedContent": "/wA="}), end(0)],
        [{"reasoningContent": {"redactedContent": "/wA="}}],
    ),
    "another provider's seal": (
        [e.ThinkingStarted(0), e.ThinkingDelta(0, "r"),
         e.ThinkingSealed(0, encrypted="gA", signer="openai-responses-v1"), END(0)],
        [delta(0, reasoningContent={"text": "r"}),
         delta(0, reasoningContent={"signature": "gw1.e.openai-responses-v1.gA"}), end(0)],
        [{"reasoningContent": {"reasoningText": {"text": "r", "signature": "gw1.e.openai-responses-v1.gA"}}}],
    ),
    "calls": (
        [e.ToolCallStarted(0, "a", "f"), e.ToolInputDelta(0, '{"x"'), e.ToolInputDelta(0, ":1}"), END(0),
         e.ToolCallStarted(1, "b", "g"), END(1)],
        [tool(0, "a", "f"), delta(0, toolUse={"input": '{"x"'}), delta(0, toolUse={"input": ":1}"}), end(0),
         tool(1, "b", "g"), delta(1, toolUse={"input": "{}"}), end(1)],
        [{"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
         {"toolUse": {"toolUseId": "b", "name": "g", "input": {}}}],
    ),
    "calls that interleave": (
        [e.ToolCallStarted(0, "a", "f"), e.ToolCallStarted(1, "b", "g"), e.ToolInputDelta(1, "{}"),
         e.ToolInputDelta(0, "{}"), END(1), END(0)],
        [tool(0, "a", "f"), delta(0, toolUse={"input": "{}"}), end(0), tool(1, "b", "g"),
         delta(1, toolUse={"input": "{}"}), end(1)],
        [{"toolUse": {"toolUseId": "a", "name": "f", "input": {}}},
         {"toolUse": {"toolUseId": "b", "name": "g", "input": {}}}],
    ),
    "a free-form call": (
        [e.ToolCallStarted(0, "a", "f", "custom"), e.ToolInputDelta(0, 'say "'), e.ToolInputDelta(0, "\n"), END(0)],
        [tool(0, "a", "f"), delta(0, toolUse={"input": '{"input":"'}), delta(0, toolUse={"input": 'say \\"'}),
         delta(0, toolUse={"input": "\\n"}), delta(0, toolUse={"input": '"}'}), end(0)],
        [{"toolUse": {"toolUseId": "a", "name": "f", "input": {"input": 'say "\n'}}}],
    ),
    "an input that is no object": (
        [e.ToolCallStarted(0, "a", "f"), e.ToolInputDelta(0, "{bad"), END(0)],
        [tool(0, "a", "f"), delta(0, toolUse={"input": '{"INVALID_JSON":"{bad"}'}), end(0)],
        [{"toolUse": {"toolUseId": "a", "name": "f", "input": {"INVALID_JSON": "{bad"}}}],
    ),
    "a citation": (
        [e.TextStarted(0), e.TextDelta(0, "a"), e.CitationAdded(0, URL), END(0)],
        [delta(0, text="a"), delta(0, citation=WEB), end(0)],
        [{"citationsContent": {"content": [{"text": "a"}], "citations": [WEB]}}],
    ),
    "its own block, whole": (
        [e.OpaqueStarted(0, "bedrock_converse", {"toolUse": SERVER_TOOL | {"input": {}}}), END(0)],
        [("contentBlockStart", {
            "contentBlockIndex": 0, "start": {"toolUse": SERVER_TOOL},
         }), delta(0, toolUse={"input": "{}"}), end(0)],
        [{"toolUse": SERVER_TOOL | {"input": {}}}],
    ),
    "its own block, in pieces": (
        [e.OpaqueStarted(0, "bedrock_converse", {"toolResult": {"toolUseId": "s"}}),
         e.OpaqueDelta(0, {"toolResult": [{"text": "a"}]}), e.OpaqueDelta(0, {"toolResult": [{"text": "b"}]}), END(0)],
        [("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolResult": {"toolUseId": "s"}}}),
         delta(0, toolResult=[{"text": "a"}]), delta(0, toolResult=[{"text": "b"}]), end(0)],
        [{"toolResult": {"toolUseId": "s", "content": [{"text": "a"}, {"text": "b"}]}}],
    ),
    "another's block": (
        [e.OpaqueStarted(0, "other", {"type": "x"}), e.OpaqueDelta(0, {}), END(0)], [], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("blocks", "told", "content"), CASES.values(), ids=CASES)
def test_blocks(blocks: list[e.ResponseEvent], told: Told, content: list[Json]) -> None:
    calls = any(isinstance(block, e.ToolCallStarted) for block in blocks)
    reason = "tool_use" if calls else "end_turn"
    head, stream = emitted(response(*blocks))
    assert head.header("content-type") == "application/vnd.amazon.eventstream"
    first, *between, stop, metadata = messages_of(stream)
    assert (first, stop, metadata) == (
        ("messageStart", {"role": "assistant"}), ("messageStop", {"stopReason": reason}), METADATA,
    )  # fmt: skip
    assert between == told
    head, body = emitted(response(*blocks), stream=False)
    assert head.header("content-type") == "application/json"
    assert msgspec.json.decode(body) == {
        "output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason, **METADATA[1],
    }  # fmt: skip


@pytest.mark.parametrize("blocks", [case[0] for case in CASES.values()], ids=CASES)
def test_the_stream_and_the_whole_say_the_same(blocks: list[e.ResponseEvent]) -> None:
    streamed = folded(parsed(emitted(response(*blocks))[1]))
    whole = folded(parsed(msgspec.json.decode(emitted(response(*blocks), stream=False)[1])))
    assert streamed.ended == whole.ended
    assert [type(block) for block in streamed.blocks] == [type(block) for block in whole.blocks]


def test_text_comes_with_its_event() -> None:
    out = emitted([STARTED, e.TextStarted(0), e.TextDelta(0, "a")])[1]
    assert messages_of(out)[-1] == delta(0, text="a")


def test_losses() -> None:
    cited = e.CitationAdded(2, e.Citation("page_location", "other"))
    seal = e.ThinkingSealed(1, "x")
    blocks: list[e.ResponseEvent] = [
        e.OpaqueStarted(0, "other", {"type": "server_tool_use"}), END(0), e.ThinkingStarted(1), seal, END(1),
        e.TextStarted(2), e.TextDelta(2, "a"), cited, END(2),
    ]  # fmt: skip
    expected = {
        "response.server_tool_use:dropped", "response.thinking.signature:dropped", "response.citations:dropped",
        "response.container:dropped", "response.explanation:dropped",
    }  # fmt: skip
    for stream in (True, False):
        losses = LossReport()
        emitted(response(*blocks, extra={"container": 1}, explanation="why"), stream=stream, losses=losses)
        assert {str(loss) for loss in losses} == expected


@pytest.mark.parametrize(
    ("stop", "native", "word"),
    [
        (e.StopReason.END, None, "end_turn"),
        (e.StopReason.OTHER, "new", "end_turn"),
        (e.StopReason.MAX_TOKENS, "length", "max_tokens"),
        (e.StopReason.PAUSED, "pause_turn", "max_tokens"),
        (e.StopReason.COMPACTED, None, "max_tokens"),
        (e.StopReason.STOP_SEQUENCE, None, "stop_sequence"),
        (e.StopReason.TOOL_CALL, "tool_calls", "end_turn"),
        (e.StopReason.REFUSAL, "refusal", "content_filtered"),
        (e.StopReason.REFUSAL, "guardrail_intervened", "guardrail_intervened"),
        (e.StopReason.CONTEXT_EXCEEDED, None, "model_context_window_exceeded"),
    ],
)
def test_stop_reasons(stop: e.StopReason, native: str | None, word: str) -> None:
    _, (name, members), _ = messages_of(emitted(response(stop=stop, native_reason=native))[1])
    assert (name, members) == ("messageStop", {"stopReason": word})


def test_stop_sequence_and_tier() -> None:
    ended = response(stop=e.StopReason.STOP_SEQUENCE, stop_sequence="END", service_tier="standard", usage=e.NO_USAGE)
    _, stop, metadata = messages_of(emitted(ended)[1])
    assert stop[1] == {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"}}
    assert metadata[1] == {
        "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}, "metrics": {"latencyMs": 0},
        "serviceTier": {"type": "default"},
    }  # fmt: skip


def test_a_call_without_an_id_gets_one_always_the_same() -> None:
    events = response(e.ToolCallStarted(0, "", "f"), END(0), e.ToolCallStarted(1, "", "f"), END(1))
    streamed = [m["start"]["toolUse"]["toolUseId"] for name, m in messages_of(emitted(events)[1]) if "start" in m]
    whole = msgspec.json.decode(emitted(events, stream=False)[1])["output"]["message"]["content"]
    assert streamed == [block["toolUse"]["toolUseId"] for block in whole]
    assert len(set(streamed)) == 2
    assert all(id_.startswith("tooluse_") and len(id_) <= 64 for id_ in streamed)


def test_what_proves_a_call_travels_behind_its_id() -> None:
    """Google refuses a history whose calls lack their signatures, and Converse has no member for them."""
    events = response(e.ToolCallStarted(0, "a.b", "f", signature="U0lH"), END(0))
    [streamed] = [m["start"]["toolUse"]["toolUseId"] for name, m in messages_of(emitted(events)[1]) if "start" in m]
    [block] = msgspec.json.decode(emitted(events, stream=False)[1])["output"]["message"]["content"]
    assert block["toolUse"]["toolUseId"] == streamed
    assert marker.unsealed_id(streamed) == ("a.b", "U0lH")


@pytest.mark.parametrize(
    ("kind", "code", "name"),
    [
        (ErrorKind.RATE_LIMIT, None, "throttlingException"),
        (ErrorKind.OVERLOADED, None, "serviceUnavailableException"),
        (ErrorKind.INVALID_REQUEST, None, "validationException"),
        (ErrorKind.API, None, "internalServerException"),
        (ErrorKind.API, "stream_truncated", "modelStreamErrorException"),
    ],
)
def test_a_failure_in_the_stream(kind: ErrorKind, code: str | None, name: str) -> None:
    failed = e.ResponseFailed(kind, "no", code=code)
    stream = emitted([STARTED, e.TextStarted(0), e.TextDelta(0, "a"), failed])[1]
    assert messages_of(stream)[-1] == (name, {"message": "no"})
    last = parsed(stream)[-1]
    assert isinstance(last, e.ResponseFailed)
    assert (last.kind, last.message) == (kind, "no")


def test_headers() -> None:
    head, _ = emitted([], meta=Meta(request_id="q", retry_after="7"))
    assert ("x-amzn-requestid", "q") in head.headers
    assert ("retry-after", "7") in head.headers


def test_redacted_content_is_base64_of_what_claude_said() -> None:
    encrypted = "EmwKAhgBEgy3"
    events = response(e.ThinkingStarted(0), e.ThinkingSealed(0, encrypted=encrypted, signer=CLAUDE), END(0))
    [_, (_, said), *_] = messages_of(emitted(events)[1])
    assert base64.b64decode(said["delta"]["reasoningContent"]["redactedContent"]).decode() == encrypted
    assert e.ThinkingSealed(0, encrypted=encrypted, signer=CLAUDE) in parsed(emitted(events)[1])
