"""What a client of the Responses API reads, checked with the official SDK's own types and stream."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.dialects.base import Meta
from extproc.dialects.openai_responses.names import Named
from extproc.dialects.openai_responses.state import ResponsesState
from extproc.llm import events as e
from extproc.llm import marker
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import folded
from extproc.llm.losses import LossReport
from extproc.llm.marker import mark
from extproc.llm.request import Message, Request, Thinking, ToolCall

from .helpers import USER, Json, emitted, events_of, parse, parsed

CLAUDE = "anthropic-claude-v1"
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
END = e.BlockEnded


def response(*blocks: e.ResponseEvent, stop: e.StopReason = e.StopReason.END, **ended: Any) -> list[e.ResponseEvent]:
    usage = ended.pop("usage", e.Usage(10, 5, 4, 2, 3))
    return [e.ResponseStarted("msg_1", "claude-x"), *blocks, e.ResponseEnded(stop, usage, **ended)]


def call(block: int, *fragments: str, kind: str = "function", id_: str = "toolu_1") -> list[e.ResponseEvent]:
    deltas = [e.ToolInputDelta(block, fragment) for fragment in fragments]
    return [e.ToolCallStarted(block, id_, "f", kind), *deltas, END(block)]


def text(block: int, *deltas: str, refusal: bool = False) -> list[e.ResponseEvent]:
    return [e.TextStarted(block, refusal), *(e.TextDelta(block, delta) for delta in deltas), END(block)]


def thinking(block: int, *deltas: str, **seal: str) -> list[e.ResponseEvent]:
    sealed = [e.ThinkingSealed(block, **seal)] if seal else []
    return [e.ThinkingStarted(block), *(e.ThinkingDelta(block, delta) for delta in deltas), *sealed, END(block)]


URL = e.Citation("url", "other", url="https://a", title="A", cited_text="x")
SERIES: dict[str, list[e.ResponseEvent]] = {
    "text": response(*text(0, "Hel", "lo \"東京\"")),
    "nothing": response(),
    "empty text": response(*text(0)),
    "texts": response(*text(0, "a"), *text(1, "b")),
    "texts around thinking that left no trace": response(*text(0, "a"), *thinking(1), *text(2, "b")),
    "thinking": response(*thinking(0, "hm", " hm", signature="S", signer=CLAUDE), *text(1, "a")),
    "redacted": response(*thinking(0, encrypted="RED", signer=CLAUDE), *text(1, "a")),
    "own encrypted": response(*thinking(0, "s", encrypted="gAAA", signer="openai-responses-v1")),
    "unsigned": response(*thinking(0, "s")),
    "calls": response(*text(0, "a"), *call(1, '{"a"', ":1}"), *call(2, id_="c2"), stop=e.StopReason.TOOL_CALL),
    "custom": response(*call(0, "say ", '"x"', kind="custom"), stop=e.StopReason.TOOL_CALL),
    "refusal": response(*text(0, "No", "!", refusal=True), stop=e.StopReason.REFUSAL),
    "refused": response(*text(0, "Hm"), stop=e.StopReason.REFUSAL, explanation="because"),
    "cut off": response(*call(0, '{"a'), stop=e.StopReason.MAX_TOKENS),
    "citation": response(
        e.TextStarted(0), e.TextDelta(0, "Rain"), e.CitationAdded(0, URL), e.TextDelta(0, "."), END(0)
    ),
    "interleaved": response(
        e.ToolCallStarted(0, "a", "f"), e.ToolCallStarted(1, "b", "g"), e.ToolInputDelta(1, "[{}"),
        e.ToolInputDelta(0, "{"), e.ToolInputDelta(0, "}"), e.ToolInputDelta(1, "]"), END(0), END(1),
    ),
    "own item": response(
        e.OpaqueStarted(0, "openai_responses", {
            "id": "ws", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"},
        }),
        END(0), *text(1, "a"),
    ),
    "no counts": response(*text(0, "a"), usage=e.NO_USAGE),
    "tier": response(*text(0, "a"), service_tier="standard"),
}  # fmt: skip
series = pytest.mark.parametrize("events", SERIES.values(), ids=SERIES)


@series
def test_each_event_is_one_of_the_sdk(events: list[e.ResponseEvent]) -> None:
    for event in events_of(emitted(events)[1]):
        validated = SDK_EVENT.validate_python(event)
        assert validated.type == event["type"]


@series
def test_the_last_event_holds_the_whole_response(events: list[e.ResponseEvent]) -> None:
    last = events_of(emitted(events)[1])[-1]
    head, body = emitted(events, stream=False)
    whole = msgspec.json.decode(body)
    assert last["response"] == whole
    assert last["type"] == f"response.{whole['status']}"
    assert head.status == 200
    Response.model_validate(whole)


@series
def test_items_never_overlap_and_end_as_they_are_in_the_whole(events: list[e.ResponseEvent]) -> None:
    stream = events_of(emitted(events)[1])
    output = stream[-1]["response"]["output"]
    done: list[Json] = []
    open_: str | None = None
    for event in stream[2:-1]:
        assert event["output_index"] == len(done)
        if event["type"] == "response.output_item.added":
            assert open_ is None
            open_ = event["item"].get("id")
        elif event["type"] == "response.output_item.done":
            done.append(event["item"])
            assert event["item"].get("id") == open_
            open_ = None
        else:
            assert event["item_id"] == open_
    assert done == output


@series
def test_deltas_join_to_what_is_done(events: list[e.ResponseEvent]) -> None:
    joined = ""
    for event in events_of(emitted(events)[1]):
        if event["type"].endswith(".delta"):
            joined += event["delta"]
        elif event["type"].endswith(("_text.done", "refusal.done", "arguments.done", "input.done")):
            members = ("text", "refusal", "arguments", "input")
            assert joined == next(event[name] for name in members if name in event)
            joined = ""


@series
@pytest.mark.parametrize("stream", [True, False])
def test_reads_back_as_it_was(events: list[e.ResponseEvent], stream: bool) -> None:
    body = emitted(events, stream=stream)[1]
    back = folded(parsed(body, content_type="" if stream else "application/json"))
    for before, after in zip(left_over(folded(events).blocks), back.blocks, strict=True):
        assert type(after) is type(before)
        for name in ("text", "input", "signature", "encrypted", "id", "name", "kind", "content"):
            if value := getattr(before, name, None):
                assert getattr(after, name) == value


def left_over(blocks: list[Any]) -> list[Any]:
    """Blocks that say anything at all."""
    return [b for b in blocks if not hasattr(b, "parts") or b.parts or hasattr(b, "name") or getattr(b, "signer", "")]


@series
def test_the_sdk_reads_the_stream(events: list[e.ResponseEvent]) -> None:
    client = sdk(emitted(events)[1])
    with client.responses.stream(model="m", input="q") as stream:
        last = list(stream)[-1]
    whole = msgspec.json.decode(emitted(events, stream=False)[1])
    assert last.type == f"response.{whole['status']}"
    if whole["status"] == "completed":
        final = stream.get_final_response()
        assert final.to_dict()["usage"] == whole["usage"] if whole["usage"] else final.usage is None
        assert final.output_text == "".join(
            part["text"] for item in whole["output"] for part in item.get("content", []) if "text" in part
        )


def sdk(body: bytes) -> openai.OpenAI:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    transport = httpx2.MockTransport(answer)
    http = httpx2.Client(transport=transport)
    return openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0)


# ---- the members


def whole(events: list[e.ResponseEvent], **given: Any) -> Json:
    decoded: Json = msgspec.json.decode(emitted(events, stream=False, **given)[1])
    return decoded


def test_the_response_object() -> None:
    got = whole(SERIES["text"])
    assert {name: got[name] for name in ("id", "object", "created_at", "model", "store", "previous_response_id")} == {
        "id": "resp_msg_1", "object": "response", "created_at": 1000, "model": "claude-x", "store": False,
        "previous_response_id": None,
    }  # fmt: skip
    assert got["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }


def test_the_request_is_echoed() -> None:
    state = ResponsesState({"instructions": "be brief", "temperature": 0.5, "store": True, "metadata": {"a": "b"}})
    got = whole(SERIES["text"], state=state)
    assert (got["instructions"], got["temperature"], got["metadata"]) == ("be brief", 0.5, {"a": "b"})
    assert got["store"] is False
    assert (got["tools"], got["truncation"]) == ([], "disabled"), "what the client left out has its default"


@pytest.mark.parametrize(
    ("state", "carried"), [(None, True), (ResponsesState(seals=True), True), (ResponsesState(seals=False), False)]
)
def test_a_seal_is_carried_unless_the_client_did_not_ask(state: Any, carried: bool) -> None:
    item = whole(SERIES["thinking"], state=state)["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "hm hm"}]
    assert item.get("encrypted_content", "").startswith("anthropic:") is carried


@pytest.mark.parametrize(
    ("signer", "signature"), [("google-gemini-v1", "x/+="), ("deepseek-messages-v1", "S"), (marker.SIGNER, mark("s"))]
)
@pytest.mark.parametrize("stream", [True, False])
def test_any_providers_seal_comes_back(signer: str, signature: str, stream: bool) -> None:
    """To the bit, through the client: in the item that it sends back with the next request."""
    events = response(*thinking(0, "s", signature=signature, signer=signer))
    item = events_of(emitted(events)[1])[-1]["response"]["output"][0] if stream else whole(events)["output"][0]
    (message,) = parse({"input": [item, USER]})[0].messages[:1]
    assert message.content == [Thinking("s", signature, None, signer, at="input[0]")]


def test_thinking_without_a_seal_gets_our_own_mark() -> None:
    """By which it is known for none of the provider's when the conversation goes there."""
    (item,) = whole(response(e.ThinkingStarted(0), e.ThinkingDelta(0, "s"), END(0)))["output"]
    assert marker.is_mark(item["encrypted_content"])


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        (e.StopReason.END, "completed", None),
        (e.StopReason.STOP_SEQUENCE, "completed", None),
        (e.StopReason.TOOL_CALL, "completed", None),
        (e.StopReason.OTHER, "completed", None),
        (e.StopReason.MAX_TOKENS, "incomplete", "max_output_tokens"),
        (e.StopReason.CONTEXT_EXCEEDED, "incomplete", "max_output_tokens"),
        (e.StopReason.PAUSED, "incomplete", "max_output_tokens"),
        (e.StopReason.COMPACTED, "incomplete", "max_output_tokens"),
        (e.StopReason.REFUSAL, "incomplete", "content_filter"),
    ],
)
def test_stop_reasons(stop: e.StopReason, status: str, reason: str | None) -> None:
    got = whole(response(*text(0, "a"), stop=stop))
    assert got["status"] == status
    assert (got["incomplete_details"] or {}).get("reason") == reason
    assert got["output"][-1]["status"] == ("incomplete" if reason == "max_output_tokens" else "completed")


def test_a_refusal_in_words_is_a_complete_answer() -> None:
    got = whole(SERIES["refusal"])
    assert got["status"] == "completed"
    assert got["output"][0]["content"] == [{"type": "refusal", "refusal": "No!"}]


def test_calls() -> None:
    _, first, second = whole(SERIES["calls"])["output"]
    assert (first["call_id"], first["name"], first["arguments"]) == ("toolu_1", "f", '{"a":1}')
    assert (second["call_id"], second["arguments"]) == ("c2", "{}")
    assert first["id"].startswith("fc_")
    assert first["id"] != second["id"]


def test_a_call_without_an_id_gets_one_always_the_same() -> None:
    events = response(*call(0, id_=""), *call(1, id_=""))
    ids = [item["call_id"] for item in whole(events)["output"]]
    assert ids == [item["call_id"] for item in events_of(emitted(events)[1])[-1]["response"]["output"]]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"call_[0-9a-f]{24}", id_) for id_ in ids)


def test_citations_count_within_their_own_part() -> None:
    part = whole(SERIES["citation"])["output"][0]["content"][0]
    assert part["text"] == "Rain."
    [annotation] = part["annotations"]
    assert annotation == {"type": "url_citation", "start_index": 0, "end_index": 5, "title": "A", "url": "https://a"}


def test_what_other_dialects_alone_know_is_a_loss() -> None:
    losses = LossReport()
    block = e.OpaqueStarted(0, "other", {"type": "server_tool_use"})
    cited = e.CitationAdded(1, e.Citation("page_location", "other"))
    events = response(block, END(0), e.TextStarted(1), e.TextDelta(1, "a"), cited, END(1), extra={"container": 1})
    emitted(events, losses=losses)
    assert {str(loss) for loss in losses} == {
        "response.server_tool_use:dropped", "response.citations:dropped", "response.container:dropped",
    }  # fmt: skip


def test_text_comes_with_its_event() -> None:
    _, first = emitted([e.ResponseStarted("r", "m"), e.TextStarted(0), e.TextDelta(0, "a")])
    assert events_of(first)[-1]["delta"] == "a"


def test_keep_alives_are_comments() -> None:
    assert emitted([e.ResponseStarted("r", "m"), e.KeepAlive()])[1].endswith(b": ping\n\n")


# ---- failures


FAILED = e.ResponseFailed(ErrorKind.RATE_LIMIT, "slow down")


def test_a_failure_in_the_stream() -> None:
    body = emitted([e.ResponseStarted("r", "m"), e.TextStarted(0), e.TextDelta(0, "a"), FAILED])[1]
    *_, last, failed = events_of(body)
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    assert (failed["response"]["status"], failed["response"]["id"]) == ("failed", "resp_r")
    SDK_EVENT.validate_python(failed)
    error = {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    assert last == {
        "type": "error", "sequence_number": 5, "code": "rate_limit_exceeded", "message": "slow down", "param": None,
        "error": error,
    }  # fmt: skip
    SDK_EVENT.validate_python(last)
    with pytest.raises(openai.APIError, match="slow down"):
        list(sdk(body).responses.create(model="m", input="q", stream=True))
    [*_, read] = parsed(body)
    assert read == e.ResponseFailed(ErrorKind.RATE_LIMIT, "slow down", None, "rate_limit_exceeded")


def test_a_failure_of_a_whole_response() -> None:
    events: list[e.ResponseEvent] = [e.ResponseStarted("r", "m"), e.TextStarted(0), FAILED]
    body = emitted(events, stream=False)[1]
    assert msgspec.json.decode(body)["error"]["type"] == "rate_limit_error"


def test_a_call_that_was_left_and_goes_on_fails_the_stream() -> None:
    left = response(
        e.ToolCallStarted(0, "a", "f"), e.ToolInputDelta(0, "{}"), e.TextStarted(1), e.ToolInputDelta(0, "}"),
        END(0), END(1),
    )  # fmt: skip
    *_, error, failed = events_of(emitted(left)[1])
    assert (error["type"], failed["type"]) == ("error", "response.failed")


def test_headers() -> None:
    meta = Meta("req_1", "7", "7000", "true", {"requests-limit": "10"}, {"tokens": 1060.5})
    head, _ = emitted([], meta=meta)
    assert set(head.headers) == {
        ("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), ("x-request-id", "req_1"),
        ("retry-after", "7"), ("retry-after-ms", "7000"), ("x-should-retry", "true"),
        ("x-ratelimit-limit-requests", "10"), ("x-ratelimit-reset-tokens", "1m0s"),
    }  # fmt: skip


# ---- tools under names that only this API has

NAMED = ResponsesState(named={"mcp__fs__read": Named("read", "mcp__fs"), "tool_search_1": Named("tool_search", "")})
SEARCHES = ResponsesState(searches=True)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("mcp__fs__read", {"name": "read", "namespace": "mcp__fs"}),
        ("tool_search_1", {"name": "tool_search"}),
        ("f", {"name": "f"}),
    ],
)
def test_a_call_goes_to_the_namespace_of_its_tool(name: str, members: Json, stream: bool) -> None:
    events = response(e.ToolCallStarted(0, "c1", name), e.ToolInputDelta(0, "{}"), END(0))
    if stream:
        got = events_of(emitted(events, state=NAMED)[1])
        item = got[-1]["response"]["output"][0]
        (added,) = [event["item"] for event in got if event["type"] == "response.output_item.added"]
        assert added == item | {"arguments": "", "status": "in_progress"}
    else:
        (item,) = whole(events, state=NAMED)["output"]
    assert {k: item[k] for k in ("name", "namespace") if k in item} == members


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("fragments", "arguments"), [(['{"query"', ':"x"}'], {"query": "x"}), ([], {}), (["{"], {})])
def test_a_search_for_tools_is_the_clients_own_kind_of_call(
    fragments: list[str], arguments: Json, stream: bool
) -> None:
    deltas = [e.ToolInputDelta(0, fragment) for fragment in fragments]
    events = response(e.ToolCallStarted(0, "c1", "tool_search"), *deltas, END(0))
    if stream:
        got = events_of(emitted(events, state=SEARCHES)[1])
        for event in got:
            SDK_EVENT.validate_python(event)
        assert not [event for event in got if "delta" in event["type"] or "arguments.done" in event["type"]]
        (item,) = got[-1]["response"]["output"]
    else:
        (item,) = whole(events, state=SEARCHES)["output"]
    assert item == {
        "id": item["id"], "type": "tool_search_call", "status": "completed", "call_id": "c1", "execution": "client",
        "arguments": arguments,
    }  # fmt: skip
    assert item["id"].startswith("tsc_")
    assert whole(events)["output"][0]["type"] == "function_call", "without such a tool it is a function like any other"


@pytest.mark.parametrize("stream", [True, False])
def test_a_signature_travels_behind_the_calls_id(stream: bool) -> None:
    events = response(e.ToolCallStarted(0, "c1", "f", signature="S+/="), END(0))
    item = events_of(emitted(events)[1])[-1]["response"]["output"][0] if stream else whole(events)["output"][0]
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "x"}
    turn, result = parse({"input": [item, output]})[0].messages
    assert turn.content == [ToolCall("c1", "f", "{}", at="input[0]", signature="S+/=")]
    assert result.content[0].id == "c1"  # type: ignore[union-attr]
    # Nor does another gateway of ours before this one lose it.
    assert [event.signature for event in parsed(sse_of(events)) if type(event) is e.ToolCallStarted] == ["S+/="]


def sse_of(events: list[e.ResponseEvent]) -> bytes:
    return emitted(events)[1]


def test_an_id_that_the_conversation_knows_already_is_not_given_again() -> None:
    history = [Message("assistant", [ToolCall("call_0", "f", "{}")])]
    request = Request(dialect="openai_responses", model="m", messages=history)
    got = whole(response(e.ToolCallStarted(0, "call_0", "f"), END(0)), request=request)
    assert got["output"][0]["call_id"] not in ("call_0", "")


def test_a_failure_before_anything_was_said_is_a_response_too() -> None:
    """Codex takes a stream for broken off that does not say in a response object that it failed."""
    error, failed = events_of(emitted([FAILED])[1])
    assert (error["type"], failed["type"], failed["response"]["model"]) == ("error", "response.failed", "asked")
    SDK_EVENT.validate_python(failed)


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        (ErrorKind.OVERLOADED, None, "overloaded_error"),
        (ErrorKind.INVALID_REQUEST, None, "invalid_prompt"),
        (ErrorKind.INVALID_REQUEST, "context_length_exceeded", "context_length_exceeded"),
        (ErrorKind.API, None, "server_error"),
        (ErrorKind.API, "stream_truncated", "stream_truncated"),
    ],
)
def test_a_failed_response_says_why(kind: ErrorKind, code: str | None, expected: str) -> None:
    failed = e.ResponseFailed(kind, "why", code=code)
    assert events_of(emitted([e.ResponseStarted("r", "m"), failed])[1])[-1]["response"]["error"]["code"] == expected
