from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc.dialects.base import Answering, Meta
from extproc.dialects.gemini.parse_request import GeminiState
from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport

from .helpers import Json, emitted, messages_of, parts_of

STOP = e.StopReason
CLAUDE = "anthropic-claude-v1"
GOOGLE = "google-gemini-v1"
HIDDEN = GeminiState(thoughts=False)
ARRAY = GeminiState(array=True)
STARTED = e.ResponseStarted("r1", "m1", created=1_793_577_600)
USAGE = e.Usage(10, 7, 4, None, 3)
ENDED = e.ResponseEnded(STOP.END, USAGE)
COMMON = {"modelVersion": "m1", "createTime": "2026-11-02T00:00:00Z", "responseId": "r1"}


def sealed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def text(block: int, *pieces: str) -> list[e.ResponseEvent]:
    return [e.TextStarted(block), *(e.TextDelta(block, piece) for piece in pieces), e.BlockEnded(block)]


def thinking(block: int, said: str, **seal: Any) -> list[e.ResponseEvent]:
    told: list[e.ResponseEvent] = [e.ThinkingStarted(block)]
    if said:
        told.append(e.ThinkingDelta(block, said))
    if seal:
        told.append(e.ThinkingSealed(block, **seal))
    return [*told, e.BlockEnded(block)]


def call(block: int, *fragments: str, id_: str = "c", signature: str | None = None, kind: str = "function") -> Any:
    started = e.ToolCallStarted(block, id_, "f", kind, signature=signature)
    return [started, *(e.ToolInputDelta(block, x) for x in fragments), e.BlockEnded(block)]


def streamed(*events: e.ResponseEvent, state: GeminiState | None = None, ended: Any = ENDED) -> list[Json]:
    """The parts of a stream, in order, without the last message's empty text."""
    _, out = emitted([STARTED, *events, ended], state=state)
    messages = messages_of(out)
    assert all({name: message[name] for name in COMMON} == COMMON for message in messages)
    parts = [part for message in messages for part in parts_of(message)]
    assert parts[-1] == {"text": ""}
    return parts[:-1]


def whole(*events: e.ResponseEvent, state: GeminiState | None = None, ended: Any = ENDED) -> Json:
    head, out = emitted([STARTED, *events, ended], stream=False, state=state)
    assert dict(head.headers)["content-type"] == "application/json"
    body: Json = json.loads(out)
    return body


F_CALL = {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}
CARRIED = sealed(f'gw1.c.[["why","S",null,"{CLAUDE}"]]')
BLOCKS: list[tuple[Any, GeminiState | None, list[Json], list[Json] | None]] = [
    (text(0, "a", "", "b"), None, [{"text": "a"}, {"text": "b"}], [{"text": "ab"}]),
    (call(0, '{"a":', "1}"), None, [F_CALL], None),
    (call(0, '{"a":1}', signature="S+/=="), None, [F_CALL | {"thoughtSignature": "S+/=="}], None),
    (call(0), None, [{"functionCall": {"id": "c", "name": "f", "args": {}}}], None),
    (call(0, "some text", kind="custom"), None,
     [{"functionCall": {"id": "c", "name": "f", "args": {"input": "some text"}}}], None),
    (call(0, "{bad"), None, [{"functionCall": {"id": "c", "name": "f", "args": {"INVALID_JSON": "{bad"}}}], None),
    (thinking(0, "why"), None, [{"text": "why", "thought": True}], None),
    (thinking(0, "why"), HIDDEN, [], None),
    ([*text(0, "a"), *thinking(1, "", signature="S", signer=GOOGLE)], HIDDEN,
     [{"text": "a"}, {"text": "", "thoughtSignature": "S"}], [{"text": "a", "thoughtSignature": "S"}]),
    (thinking(0, "why", signature="S", signer=CLAUDE), None,
     [{"text": "why", "thought": True},
      {"text": "", "thought": True, "thoughtSignature": sealed(f"gw1.s.{CLAUDE}.S")}],
     [{"text": "why", "thought": True, "thoughtSignature": sealed(f"gw1.s.{CLAUDE}.S")}]),
    ([*thinking(0, "why", signature="S", signer=CLAUDE), *call(1, '{"a":1}')], HIDDEN,
     [F_CALL | {"thoughtSignature": CARRIED}], None),
    ([*thinking(0, "why", signature="S", signer=CLAUDE), *call(1, '{"a":1}'), *call(2, '{"a":1}')], HIDDEN,
     [F_CALL | {"thoughtSignature": CARRIED}, F_CALL], None),
    ([e.OpaqueStarted(0, "gemini", {"executableCode": {"code": "1"}}), e.BlockEnded(0)], None,
     [{"executableCode": {"code": "1"}}], None),
    ([e.OpaqueStarted(0, "other", {"type": "x"}), e.OpaqueDelta(0, {"y": 1}), e.BlockEnded(0)], None, [], None),
]  # fmt: skip


@pytest.mark.parametrize(("events", "state", "parts", "folded"), BLOCKS)
def test_blocks(events: Any, state: GeminiState | None, parts: list[Json], folded: list[Json] | None) -> None:
    assert streamed(*events, state=state) == parts
    assert parts_of(whole(*events, state=state)) == (parts if folded is None else folded)


def test_a_whole_answer() -> None:
    assert whole(*text(0, "a")) == {
        "candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4,
            "totalTokenCount": 17,
        },
        **COMMON,
    }  # fmt: skip
    assert "usageMetadata" not in whole(*text(0, "a"), ended=e.ResponseEnded(STOP.END))


def test_a_stream_of_events_and_one_array_say_the_same() -> None:
    events = [STARTED, *text(0, "a", "b"), *call(1, "{}"), ENDED]
    head, out = emitted(events)
    assert dict(head.headers)["content-type"].startswith("text/event-stream")
    head, array = emitted(events, state=ARRAY)
    assert dict(head.headers)["content-type"] == "application/json; charset=utf-8"
    assert json.loads(array) == messages_of(out)
    assert messages_of(out)[-1]["candidates"][0]["finishReason"] == "STOP"


def test_keepalives_are_nothing_to_googles_sdk() -> None:
    _, plain = emitted([STARTED, *text(0, "a"), ENDED])
    assert emitted([e.KeepAlive(), STARTED, *text(0, "a"), e.KeepAlive(), ENDED])[1] == plain
    _, array = emitted([e.KeepAlive(), STARTED, *text(0, "a"), e.KeepAlive(), ENDED], state=ARRAY)
    assert json.loads(array) == messages_of(plain)


@pytest.mark.parametrize(
    ("stop", "name"),
    [
        (STOP.END, "STOP"), (STOP.STOP_SEQUENCE, "STOP"), (STOP.TOOL_CALL, "STOP"), (STOP.MAX_TOKENS, "MAX_TOKENS"),
        (STOP.CONTEXT_EXCEEDED, "MAX_TOKENS"), (STOP.PAUSED, "MAX_TOKENS"), (STOP.REFUSAL, "SAFETY"),
        (STOP.OTHER, "OTHER"),
    ],
)  # fmt: skip
def test_finish_reasons(stop: e.StopReason, name: str) -> None:
    ended = e.ResponseEnded(stop, explanation="why")
    [candidate] = whole(*text(0, "a"), ended=ended)["candidates"]
    assert candidate["finishReason"] == name
    assert ("finishMessage" in candidate) is (stop is STOP.REFUSAL)


@pytest.mark.parametrize("state", [GeminiState(), ARRAY])
@pytest.mark.parametrize("before", [[], text(0, "Once")])
def test_an_error_in_the_midst_of_a_stream(state: GeminiState, before: list[e.ResponseEvent]) -> None:
    failed = e.ResponseFailed(ErrorKind.OVERLOADED, "busy", code="x")
    _, out = emitted([STARTED, *before, failed], state=state)
    last = json.loads(out)[-1] if state.array else messages_of(out)[-1]
    assert last == {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


def test_an_error_before_anything_has_its_own_status() -> None:
    failed = e.ResponseFailed(ErrorKind.RATE_LIMIT, "slow down", 429, retry_after="9")
    from extproc.dialects.base import Env, ResponseHead

    from .helpers import DIALECT, JSON, request

    upstream = ResponseHead(429, [("content-type", JSON)])
    emitter = DIALECT.response_emitter(Answering(request(), upstream, Meta(), Env(), LossReport()))
    body = json.loads(emitter.emit(failed))
    assert (emitter.head.status, body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert ("retry-after", "9") in emitter.head.headers


def test_citations_count_the_bytes_of_the_whole() -> None:
    first = e.Citation("url", "x", "https://e.x/1", "One", None, 3, 6)
    second = e.Citation("url", "x", "https://e.x/2", None, "all of it")
    odd = e.Citation("char_location", "x")
    events: list[e.ResponseEvent] = [
        e.TextStarted(0), e.TextDelta(0, "Grüße aus"), e.CitationAdded(0, first), e.BlockEnded(0),
        e.TextStarted(1), e.TextDelta(1, " Rom"), e.CitationAdded(1, second), e.CitationAdded(1, odd), e.BlockEnded(1),
    ]  # fmt: skip
    losses = LossReport()
    _, out = emitted([STARTED, *events, ENDED], losses=losses)
    for message in (messages_of(out)[-1], whole(*events)):
        grounding = message["candidates"][0]["groundingMetadata"]
        assert [chunk["web"] for chunk in grounding["groundingChunks"]] == [
            {"uri": "https://e.x/1", "title": "One"}, {"uri": "https://e.x/2", "title": ""},
        ]  # fmt: skip
        assert [support["segment"] for support in grounding["groundingSupports"]] == [
            {"startIndex": 4, "endIndex": 8, "text": "ße "}, {"startIndex": 11, "endIndex": 15, "text": "all of it"},
        ]  # fmt: skip
    assert [str(loss) for loss in losses] == ["response.content[1].citations:dropped"]


def test_a_call_without_an_id_gets_one_that_stays_the_same() -> None:
    events = [*call(0, id_=""), *call(1, id_="")]
    ids = [part["functionCall"]["id"] for part in streamed(*events)]
    assert ids == [part["functionCall"]["id"] for part in parts_of(whole(*events))]
    assert len(set(ids)) == 2 and all(id_.startswith("call_") for id_ in ids)


def test_what_has_no_place_here_is_reported() -> None:
    losses = LossReport()
    started = e.ResponseStarted("r", "m", extra={"provider": "x"})
    emitted([started, e.ToolCallStarted(0, "c", "f", extra={"y": 1}), e.BlockEnded(0), ENDED], losses=losses)
    assert {str(loss) for loss in losses} == {"response.provider:dropped", "response.content[0].y:dropped"}
