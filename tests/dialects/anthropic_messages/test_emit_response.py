from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from msgspec.structs import replace

from extproc.dialects.base import Env, Meta, ResponseHead
from extproc.llm import events as e
from extproc.llm import marker
from extproc.llm.events import StopReason, Usage
from extproc.llm.failures import ErrorKind
from extproc.llm.request import Message, Sampling, ToolCall

from .helpers import DIALECT, Client, read

MARK = re.compile(r"gw1\.[A-Za-z0-9_-]{16,}\Z")
CLAUDE = "anthropic-claude-v1"
NAME = "anthropic_messages"
GOLDEN = sorted((Path(__file__).parents[2] / "golden" / NAME).glob("*.sse"))
START = e.ResponseStarted("1", "gpt")
END = e.ResponseEnded(StopReason.END)


def blocks(*events: e.ResponseEvent, end: e.ResponseEvent = END) -> list[Any]:
    """The stream's events between message_start and message_delta."""
    got = Client().get(START, *events, end).events
    assert got[0]["type"] == "message_start"
    assert got[-1] == {"type": "message_stop"}
    assert got[-2]["type"] == "message_delta"
    return got[1:-2]


def whole(*events: e.ResponseEvent, end: e.ResponseEvent = END) -> Any:
    return Client(stream=False).get(START, *events, end).json


def start(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(end: e.ResponseEnded, *events: e.ResponseEvent) -> Any:
    """What message_delta says."""
    return Client().get(START, *events, end).events[-2]


CALL = (e.ToolCallStarted(0, "c1", "f"), e.ToolInputDelta(0, "{}"), e.BlockEnded(0))


# ---- the frame


def test_a_plain_stream() -> None:
    client = Client().get(
        START, e.TextStarted(0), e.TextDelta(0, 'é"\n'), e.BlockEnded(0),
        e.ResponseEnded(StopReason.END, Usage(160, 25, 100, 50, 20)),
    )  # fmt: skip
    assert client.events == [
        {
            "type": "message_start",
            "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "gpt", "content": [],
                        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}},
        },
        start(0, type="text", text=""),
        delta(0, "text_delta", text='é"\n'),
        stop(0),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
                      "output_tokens": 25, "output_tokens_details": {"thinking_tokens": 20}},
        },
        {"type": "message_stop"},
    ]  # fmt: skip
    assert client.emitter.head == ResponseHead(
        200, [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
    )


@pytest.mark.parametrize(("id_", "sent"), [("chatcmpl-1", "msg_chatcmpl-1"), ("msg_7", "msg_7"), ("", "msg_r-1")])
def test_ids(id_: str, sent: str) -> None:
    started = e.ResponseStarted(id_, "")
    message = Client().get(started).events[0]["message"]
    assert (message["id"], message["model"]) == (sent, "m")
    assert Client(stream=False).get(started, END).json["id"] == sent


def test_known_counts_come_first_too() -> None:
    usage = Client().get(e.ResponseStarted("1", "m", Usage(10, 1, 4))).events[0]["message"]["usage"]
    assert usage == {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 1}


def test_more_cached_than_counted_is_not_negative() -> None:
    assert ending(e.ResponseEnded(StopReason.END, Usage(10, 1, 80)))["usage"]["input_tokens"] == 0


def test_keep_alives() -> None:
    assert Client().get(e.KeepAlive(), START, e.KeepAlive()).events[::2] == [": ping", {"type": "ping"}]


@pytest.mark.parametrize(
    ("failed", "error"),
    [
        (e.ResponseFailed(ErrorKind.OVERLOADED, "Overloaded"), {"type": "overloaded_error", "message": "Overloaded"}),
        (e.ResponseFailed(ErrorKind.API, "no", code="stream_truncated"), {"type": "api_error", "message": "no"}),
    ],
)
def test_an_error_is_the_last_word(failed: e.ResponseFailed, error: Any) -> None:
    got = Client().get(START, e.TextStarted(0), e.TextDelta(0, "Hi"), failed).events
    assert got[1:] == [
        start(0, type="text", text=""), delta(0, "text_delta", text="Hi"), {"type": "error", "error": error}
    ]  # fmt: skip


# ---- blocks, streamed and whole


@pytest.mark.parametrize(
    ("events", "streamed", "folded"),
    [
        pytest.param(
            [e.ToolCallStarted(0, "c1", "f"), e.ToolInputDelta(0, '{"q":'), e.ToolInputDelta(0, "1}"), e.BlockEnded(0)],
            [start(0, type="tool_use", id="c1", name="f", input={}), delta(0, "input_json_delta", partial_json='{"q":'),
             delta(0, "input_json_delta", partial_json="1}"), stop(0)],
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {"q": 1}}],
            id="a call",
        ),
        pytest.param(
            [e.ToolCallStarted(0, "c1", "f"), e.BlockEnded(0)],
            [start(0, type="tool_use", id="c1", name="f", input={}), delta(0, "input_json_delta", partial_json="{}"),
             stop(0)],
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}],
            id="a call without input",
        ),
        pytest.param(
            [e.ToolCallStarted(0, "c1", "py", "custom"), e.ToolInputDelta(0, "print("), e.ToolInputDelta(0, '"x")'),
             e.BlockEnded(0)],
            [start(0, type="tool_use", id="c1", name="py", input={}),
             delta(0, "input_json_delta", partial_json='{"input":"print(\\"x\\")"}'), stop(0)],
            [{"type": "tool_use", "id": "c1", "name": "py", "input": {"input": 'print("x")'}}],
            id="a free-form call",
        ),
        pytest.param(
            [e.ThinkingStarted(0), e.ThinkingDelta(0, "wh"), e.ThinkingDelta(0, "y"),
             e.ThinkingSealed(0, "SIG", signer=CLAUDE), e.BlockEnded(0)],
            [start(0, type="thinking", thinking="", signature=""), delta(0, "thinking_delta", thinking="wh"),
             delta(0, "thinking_delta", thinking="y"), delta(0, "signature_delta", signature="SIG"), stop(0)],
            [{"type": "thinking", "thinking": "why", "signature": "SIG"}],
            id="signed thinking",
        ),
        pytest.param(
            [e.ThinkingStarted(0), e.ThinkingDelta(0, "why"), e.BlockEnded(0)],
            [start(0, type="thinking", thinking="", signature=""), delta(0, "thinking_delta", thinking="why"),
             delta(0, "signature_delta", signature=marker.mark("why")), stop(0)],
            [{"type": "thinking", "thinking": "why", "signature": marker.mark("why")}],
            id="unsigned thinking",
        ),
        pytest.param(
            [e.ThinkingStarted(0), e.ThinkingDelta(0, "why"), e.ThinkingSealed(0, "S", signer="google-gemini-v1"),
             e.BlockEnded(0)],
            [start(0, type="thinking", thinking="", signature=""), delta(0, "thinking_delta", thinking="why"),
             delta(0, "signature_delta", signature="gw1.s.google-gemini-v1.S"), stop(0)],
            [{"type": "thinking", "thinking": "why", "signature": "gw1.s.google-gemini-v1.S"}],
            id="thinking signed by another",
        ),
        pytest.param(
            [e.ThinkingStarted(0), e.ThinkingSealed(0, "SIG", signer=CLAUDE), e.BlockEnded(0)],
            [start(0, type="thinking", thinking="", signature=""), delta(0, "signature_delta", signature="SIG"),
             stop(0)],
            [{"type": "thinking", "thinking": "", "signature": "SIG"}],
            id="omitted thinking",
        ),
        pytest.param(
            [e.ThinkingStarted(0), e.ThinkingSealed(0, encrypted="RED", signer=CLAUDE), e.BlockEnded(0)],
            [start(0, type="redacted_thinking", data="RED"), stop(0)],
            [{"type": "redacted_thinking", "data": "RED"}],
            id="redacted thinking",
        ),
        pytest.param(
            [e.ThinkingStarted(0), e.ThinkingSealed(0, encrypted="E", signer="openai-responses-v1"), e.BlockEnded(0),
             e.TextStarted(1), e.TextDelta(1, "a"), e.BlockEnded(1)],
            [start(0, type="redacted_thinking", data="gw1.e.openai-responses-v1.E"), stop(0),
             start(1, type="text", text=""), delta(1, "text_delta", text="a"), stop(1)],
            [{"type": "redacted_thinking", "data": "gw1.e.openai-responses-v1.E"}, {"type": "text", "text": "a"}],
            id="thinking of another that cannot be shown travels sealed",
        ),
        pytest.param(
            [e.OpaqueStarted(0, "other", {"type": "x"}), e.OpaqueDelta(0, {"y": 1}), e.BlockEnded(0),
             e.TextStarted(1), e.TextDelta(1, "a"), e.BlockEnded(1)],
            [start(0, type="text", text=""), delta(0, "text_delta", text="a"), stop(0)],
            [{"type": "text", "text": "a"}],
            id="a block of another dialect leaves no gap",
        ),
        pytest.param(
            [e.OpaqueStarted(0, NAME, {"type": "server_tool_use", "input": {}}),
             e.OpaqueDelta(0, {"type": "input_json_delta", "partial_json": '{"q":1}'}), e.BlockEnded(0)],
            [start(0, type="server_tool_use", input={}), delta(0, "input_json_delta", partial_json='{"q":1}'), stop(0)],
            [{"type": "server_tool_use", "input": {"q": 1}}],
            id="a block of this dialect",
        ),
        pytest.param(
            [e.TextStarted(0), e.TextDelta(0, "a"), e.CitationAdded(0, e.Citation("x", NAME, native={"type": "x"})),
             e.CitationAdded(0, e.Citation("url", "other", "https://e.x")), e.BlockEnded(0)],
            [start(0, type="text", text=""), delta(0, "text_delta", text="a"),
             delta(0, "citations_delta", citation={"type": "x"}), stop(0)],
            [{"type": "text", "text": "a", "citations": [{"type": "x"}]}],
            id="citations",
        ),
        pytest.param([e.ThinkingStarted(0), e.BlockEnded(0)], [], [], id="thinking without anything"),
        pytest.param([], [], [], id="nothing"),
    ],
)  # fmt: skip
def test_blocks(events: list[e.ResponseEvent], streamed: list[Any], folded: list[Any]) -> None:
    assert blocks(*events) == streamed
    assert whole(*events)["content"] == folded


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ("", {}), (" ", {}), ("null", {}), ('{"a": 1.0}', {"a": 1.0}),
        ('{"q":', {"INVALID_JSON": '{"q":'}), ("[1]", {"INVALID_JSON": "[1]"}),
    ],
)  # fmt: skip
def test_input_of_a_whole(raw: str, parsed: Any) -> None:
    events: list[e.ResponseEvent] = [
        e.ToolCallStarted(0, "c", "f"),
        *([e.ToolInputDelta(0, raw)] if raw else []),
        e.BlockEnded(0),
    ]
    assert whole(*events)["content"][0]["input"] == parsed


def test_calls_without_an_id_get_one() -> None:
    calls: list[e.ResponseEvent] = [
        e.ToolCallStarted(0, "", "f"),
        e.BlockEnded(0),
        e.ToolCallStarted(1, "", "f"),
        e.BlockEnded(1),
    ]
    ids = [event["content_block"]["id"] for event in blocks(*calls) if event["type"] == "content_block_start"]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"toolu_[0-9a-f]{24}", id_) for id_ in ids)
    assert [block["id"] for block in whole(*calls)["content"]] == ids


@pytest.mark.parametrize("id_", ["call_0", ""])
@pytest.mark.parametrize("stream", [True, False])
def test_an_id_that_the_conversation_has_is_made_another(id_: str, stream: bool) -> None:
    """Servers that count calls anew in each answer, or whose answers all have the same id."""
    calls: list[e.ResponseEvent] = [
        e.ToolCallStarted(0, id_, "f"),
        e.BlockEnded(0),
        e.ToolCallStarted(1, "call_1", "f"),
        e.BlockEnded(1),
    ]
    turns = [Message("user", "hi"), Message("assistant", "no"), Message("user", "but")]
    ids: list[str] = []
    for _ in range(3):
        client = Client(stream=stream, messages=turns).get(START, *calls, END)
        starts = [event for event in client.events if event["type"] == "content_block_start"] if stream else []
        got = [event["content_block"]["id"] for event in starts] or [block["id"] for block in client.json["content"]]
        assert client.reported == (["response.content.id:rewritten"] if ids else [])
        ids += got
        turns = [*turns, Message("assistant", [ToolCall(x, "f", "{}") for x in got])]
    assert len(set(ids)) == len(ids) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", x) for x in ids)
    assert ids[1] == "call_1"


@pytest.mark.rows("F8")
def test_interleaved_calls_come_one_after_the_other() -> None:
    got = blocks(
        e.ToolCallStarted(0, "c1", "f"), e.ToolInputDelta(0, '{"a":'),
        e.ToolCallStarted(1, "c2", "g"), e.ToolInputDelta(1, '{"b":2}'),
        e.ToolInputDelta(0, "1}"), e.BlockEnded(0), e.BlockEnded(1),
    )  # fmt: skip
    assert [event["index"] for event in got] == sorted(event["index"] for event in got)
    inputs = ["", ""]
    for event in got:
        if event["type"] == "content_block_delta":
            inputs[event["index"]] += event["delta"]["partial_json"]
    assert inputs == ['{"a":1}', '{"b":2}']


def test_losses() -> None:
    client = Client().get(
        e.ResponseStarted("1", "m", extra={"system_fingerprint": "x"}),
        e.OpaqueStarted(0, "other", {}), e.BlockEnded(0),
        e.TextStarted(1), e.CitationAdded(1, e.Citation("url", "other")), e.BlockEnded(1),
        e.ToolCallStarted(2, "c", "f", extra={"extra_content": {}}), e.BlockEnded(2),
        END,
    )  # fmt: skip
    assert client.reported == [
        "response.system_fingerprint:dropped", "response.content[0]:dropped", "response.content[1].citations:dropped",
        "response.content[2].extra_content:dropped",
    ]  # fmt: skip


# ---- how it ends


@pytest.mark.parametrize(
    ("stop_", "events", "reason"),
    [
        (StopReason.END, (), "end_turn"),
        (StopReason.END, CALL, "tool_use"),
        (StopReason.MAX_TOKENS, CALL, "max_tokens"),
        (StopReason.TOOL_CALL, CALL, "tool_use"),
        (StopReason.TOOL_CALL, (), "end_turn"),
        (StopReason.REFUSAL, (), "refusal"),
        (StopReason.PAUSED, (), "pause_turn"),
        (StopReason.CONTEXT_EXCEEDED, (), "model_context_window_exceeded"),
        (StopReason.COMPACTED, (), "compaction"),
        (StopReason.OTHER, (), "end_turn"),
        (StopReason.OTHER, CALL, "tool_use"),
        (StopReason.END, (e.TextStarted(0, refusal=True), e.TextDelta(0, "No."), e.BlockEnded(0)), "refusal"),
    ],
)
def test_stop_reasons(stop_: StopReason, events: tuple[e.ResponseEvent, ...], reason: str) -> None:
    end = e.ResponseEnded(stop_)
    assert ending(end, *events)["delta"]["stop_reason"] == reason
    assert whole(*events, end=end)["stop_reason"] == reason


def test_the_stop_sequence_that_matched() -> None:
    end = e.ResponseEnded(StopReason.STOP_SEQUENCE, stop_sequence="END")
    expected = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert ending(end)["delta"] == expected
    assert expected.items() <= whole(end=end).items()


@pytest.mark.parametrize(
    ("events", "end", "details"),
    [
        ((), e.ResponseEnded(StopReason.REFUSAL), {"category": None, "explanation": None}),
        ((), e.ResponseEnded(StopReason.REFUSAL, explanation="why"), {"category": None, "explanation": "why"}),
        (
            (e.TextStarted(0, refusal=True), e.TextDelta(0, "N"), e.TextDelta(0, "o."), e.BlockEnded(0)),
            END,
            {"category": None, "explanation": "No."},
        ),
        (
            (),
            e.ResponseEnded(StopReason.REFUSAL, extra={"stop_details": {"category": "bio", "explanation": "x"}}),
            {"category": "bio", "explanation": "x"},
        ),
    ],
)
def test_refusals_are_explained(events: Any, end: e.ResponseEnded, details: Any) -> None:
    expected = {"type": "refusal", **details}
    assert ending(end, *events)["delta"]["stop_details"] == expected
    assert whole(*events, end=end)["stop_details"] == expected


@pytest.mark.parametrize(("tier", "sent"), [("priority", "priority"), ("batch", "batch"), ("flex", "standard")])
def test_service_tier_of_a_whole(tier: str, sent: str) -> None:
    assert whole(end=e.ResponseEnded(StopReason.END, service_tier=tier))["usage"]["service_tier"] == sent
    assert "service_tier" not in whole()["usage"]


def test_a_whole_message() -> None:
    client = Client(stream=False, sampling=Sampling(5)).get(
        START, e.TextStarted(0), e.TextDelta(0, "a"), e.BlockEnded(0), e.ResponseEnded(StopReason.END, Usage(3, 1))
    )
    assert client.json == {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "gpt",
        "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }  # fmt: skip
    assert client.emitter.head == ResponseHead(200, [("content-type", "application/json")])


def test_an_error_instead_of_a_whole() -> None:
    client = Client(stream=False, meta=Meta("r9")).get(START, e.ResponseFailed(ErrorKind.RATE_LIMIT, "slow", 429))
    assert client.json == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow"},
        "request_id": "r9",
    }
    assert client.emitter.head.status == 429
    assert client.emitter.head.header("request-id") == "r9"


# ---- what the official SDK makes of it


def sdk_message(client: Client) -> Any:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in client.events:
        if isinstance(event, str) or event["type"] in ("ping", "error"):
            continue
        typed: Any = anthropic._models.construct_type(type_=anthropic.types.RawMessageStreamEvent, value=event)
        snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    return snapshot


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_sdk_reads_the_stream_as_the_whole(path: Path) -> None:
    events = read(path.read_bytes())
    streamed, folded = Client(env=Env()), Client(stream=False, env=Env())
    for event in events:
        streamed.get(event)
    if isinstance(events[-1], e.ResponseFailed):
        assert streamed.events[-1]["type"] == "error"
        return
    message = sdk_message(streamed)
    expected = folded.get(*events).json
    got = message.to_dict()
    usage = {k: v for k, v in got["usage"].items() if v is not None}
    assert usage == {k: v for k, v in expected["usage"].items() if k != "service_tier"}
    for name in ("id", "model", "role", "stop_reason", "stop_sequence"):
        assert got.get(name) == expected.get(name)
    for ours, theirs in zip(expected["content"], got["content"], strict=True):
        assert {k: v for k, v in theirs.items() if v is not None} == ours
    anthropic.types.Message.model_validate(expected)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_reading_what_was_written_gives_the_same_events(path: Path) -> None:
    events = read(path.read_bytes())
    again = read(Client(env=Env()).get(*events).out)
    assert [plain(event) for event in again] == [plain(event) for event in events]


def plain(event: e.ResponseEvent) -> e.ResponseEvent:
    """*event* without what a stream does not say: counts of zero, the tier, an error's code."""
    if isinstance(event, e.ResponseStarted):
        return replace(event, usage=known(event.usage))
    if isinstance(event, e.ResponseEnded):
        return replace(event, usage=known(event.usage), service_tier=None)
    return replace(event, code=None) if isinstance(event, e.ResponseFailed) else event


def known(usage: Usage) -> Usage:
    return Usage(*(count or None for count in (getattr(usage, name) for name in Usage.__struct_fields__)))


def test_the_dialects_emitter_is_this_one() -> None:
    assert type(Client().emitter).__name__ == "MessagesEmitter"
    assert DIALECT.name == NAME
