"""Events as a Chat client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from extproc.dialects.base import Env, Meta
from extproc.dialects.openai_chat.parse_request import ChatState
from extproc.llm import events as e
from extproc.llm import marker
from extproc.llm.events import Citation, StopReason, Usage
from extproc.llm.failures import ErrorKind
from extproc.llm.request import Reasoning

from .helpers import GOLDEN, Client, golden

STARTED = e.ResponseStarted("msg_1", "claude", created=5)
ENDED = e.ResponseEnded(StopReason.END)
CLAUDE = "anthropic-claude-v1"
COUNTS = Usage(160, 5, 100, 50, 3)
COMMON = {"id": "msg_1", "object": "chat.completion.chunk", "created": 5, "model": "claude"}


def said(text: str, block: int = 0) -> list[e.ResponseEvent]:
    return [e.TextStarted(block), e.TextDelta(block, text), e.BlockEnded(block)]


def called(*fragments: str, block: int = 0, id_: str = "t1", name: str = "f", kind: str = "function") -> list[Any]:
    pieces = [e.ToolInputDelta(block, fragment) for fragment in fragments]
    return [e.ToolCallStarted(block, id_, name, kind), *pieces, e.BlockEnded(block)]


def thought(text: str, block: int = 0, **seal: Any) -> list[Any]:
    sealed = [e.ThinkingSealed(block, **seal)] if seal else []
    return [e.ThinkingStarted(block), *([e.ThinkingDelta(block, text)] if text else []), *sealed, e.BlockEnded(block)]


def both(*events: e.ResponseEvent, ended: e.ResponseEnded = ENDED, **members: Any) -> tuple[list[Any], dict[str, Any]]:
    """The stream's deltas and the whole message."""
    series = (STARTED, *events, ended)
    return Client(**members).get(*series).deltas[1:-1], Client(stream=False, **members).get(*series).message


# ---- the frame of a stream


def test_a_stream_with_counts() -> None:
    ended = e.ResponseEnded(StopReason.END, COUNTS, service_tier="standard")
    items = Client(include_usage=True).get(STARTED, *said("Hi"), ended).items
    usage = {
        "prompt_tokens": 160,
        "completion_tokens": 5,
        "total_tokens": 165,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }

    def choice(delta: Any, finish: str | None) -> Any:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None}

    assert items == [
        COMMON | choice({"role": "assistant", "content": ""}, None),
        COMMON | choice({"content": "Hi"}, None),
        COMMON | choice({}, "stop") | {"service_tier": "default"},
        COMMON | {"choices": [], "usage": usage},
        "[DONE]",
    ]


def test_a_stream_without_counts_says_nothing_of_them() -> None:
    items = Client().get(STARTED, *said("Hi"), e.ResponseEnded(StopReason.END, COUNTS)).items
    assert all("usage" not in item for item in items[:-1])
    assert items[-1] == "[DONE]"
    unknown = Client(include_usage=True).get(STARTED, ENDED).items
    assert len(unknown) == 3, "numbers are not made up"


def test_what_the_upstream_left_out_is_filled_in() -> None:
    items = Client().get(e.ResponseStarted("", ""), ENDED).items
    assert {(item["id"], item["created"], item["model"]) for item in items[:-1]} == {("chatcmpl-r-1", 100, "m")}
    body = Client(stream=False).get(e.ResponseStarted("", ""), ENDED).json
    assert (body["id"], body["created"], body["model"], "usage" in body) == ("chatcmpl-r-1", 100, "m", False)


def test_errors_and_keepalives_in_a_stream() -> None:
    client = Client().get(e.KeepAlive(), STARTED, e.TextStarted(0), e.TextDelta(0, "a"), e.KeepAlive())
    client.get(e.ResponseFailed(ErrorKind.OVERLOADED, "Overloaded"))
    assert client.items[0] == client.items[3] == ": ping"
    assert client.items[-1] == {
        "error": {"message": "Overloaded", "type": "overloaded_error", "param": None, "code": "overloaded_error"}
    }
    assert "[DONE]" not in client.items
    assert not any(choice["finish_reason"] for item in client.items[1:3] for choice in item["choices"])


def test_the_whole_body() -> None:
    ended = e.ResponseEnded(StopReason.END, Usage(10, 5), service_tier="priority")
    assert Client(stream=False).get(STARTED, *said("a"), *said("b", 1), ended).json == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 5,
        "model": "claude",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        "service_tier": "priority",
    }


# ---- why it ended


@pytest.mark.parametrize(
    ("stop", "calls", "finish", "native"),
    [
        (StopReason.END, False, "stop", None),
        (StopReason.END, True, "tool_calls", None),
        (StopReason.STOP_SEQUENCE, True, "tool_calls", None),
        (StopReason.TOOL_CALL, True, "tool_calls", None),
        (StopReason.TOOL_CALL, False, "stop", None),
        (StopReason.MAX_TOKENS, True, "length", None),
        (StopReason.PAUSED, False, "length", "native"),
        (StopReason.CONTEXT_EXCEEDED, False, "length", "native"),
        (StopReason.COMPACTED, False, "length", "native"),
        (StopReason.REFUSAL, False, "content_filter", None),
        (StopReason.OTHER, False, "stop", "native"),
    ],
)
def test_finish_reasons(stop: StopReason, calls: bool, finish: str, native: str | None) -> None:
    events = (STARTED, *(called("{}") if calls else said("a")), e.ResponseEnded(stop, native_reason="native"))
    streamed = Client().get(*events).items[-2]["choices"][0]
    whole = Client(stream=False).get(*events).json["choices"][0]
    for choice in (streamed, whole):
        assert choice["finish_reason"] == finish
        assert choice.get("native_finish_reason") == native
    assert streamed["delta"] == {}


def test_the_stop_sequence_is_told_as_vllm_does() -> None:
    ended = e.ResponseEnded(StopReason.STOP_SEQUENCE, stop_sequence="END")
    assert Client(stream=False).get(STARTED, *said("a"), ended).json["choices"][0]["stop_reason"] == "END"
    assert Client().get(STARTED, *said("a"), ended).items[-2]["choices"][0]["stop_reason"] == "END"


def test_a_refusal_of_the_models_own() -> None:
    events: list[Any] = [e.TextStarted(0, refusal=True), e.TextDelta(0, "No."), e.BlockEnded(0)]
    ended = e.ResponseEnded(StopReason.REFUSAL, explanation="No.")
    deltas, message = both(*events, ended=ended)
    assert deltas == [{"refusal": "No."}]
    assert message == {"role": "assistant", "content": None, "refusal": "No."}
    assert Client().get(STARTED, *events, ended).items[-2]["choices"][0]["finish_reason"] == "stop"
    assert Client(stream=False).get(STARTED, *events, ended).json["choices"][0]["finish_reason"] == "stop"


def test_a_refusal_that_cuts_the_answer_off() -> None:
    ended = e.ResponseEnded(StopReason.REFUSAL, explanation="Declined.")
    deltas, message = both(*said("I can"), ended=ended)
    assert deltas == [{"content": "I can"}]
    assert (message["content"], message["refusal"]) == ("I can", "Declined.")
    last = Client().get(STARTED, ended).items[-2]["choices"][0]
    assert last["stop_details"] == {"type": "refusal", "explanation": "Declined."}


# ---- thinking


def test_thinking_with_its_seals_and_places() -> None:
    deltas, message = both(
        *thought("why", 0, signature="SIG", signer=CLAUDE),
        *thought("", 1, encrypted="RED", signer=CLAUDE),
        *said("a", 2),
        *thought("", 3, signature="S3", signer=CLAUDE),
    )
    details = [
        {"type": "reasoning.text", "text": "why", "signature": "SIG", "format": CLAUDE, "index": 0},
        {"type": "reasoning.encrypted", "data": "RED", "format": CLAUDE, "index": 1},
        {"type": "reasoning.text", "text": "", "signature": "S3", "format": CLAUDE, "index": 3},
    ]
    assert deltas == [
        {"reasoning_content": "why"},
        {"reasoning_details": [details[0]]},
        {"reasoning_details": [details[1]]},
        {"content": "a"},
        {"reasoning_details": [details[2]]},
    ]
    assert (message["reasoning_content"], message["reasoning_details"]) == ("why", details)


def test_thinking_that_nobody_sealed_has_no_details() -> None:
    seals: list[Any] = [{}, {"signature": marker.mark("why"), "signer": marker.SIGNER}]
    for seal in seals:
        deltas, message = both(*thought("why", 0, **seal), *said("a", 1))
        assert deltas == [{"reasoning_content": "why"}, {"content": "a"}]
        assert "reasoning_details" not in message


def test_thinking_that_the_client_does_not_want_to_see() -> None:
    deltas, message = both(
        *thought("why", signature="S", signer=CLAUDE), *said("a", 1), reasoning=Reasoning(exclude=True)
    )
    assert deltas == [{"content": "a"}]
    assert message.keys() == {"role", "content", "refusal"}


# ---- calls


def test_calls_are_counted_on_their_own_and_may_interleave() -> None:
    events = [
        *said("ok"),
        e.ToolCallStarted(1, "t1", "f"),
        e.ToolCallStarted(2, "", "g"),
        e.ToolInputDelta(1, '{"q":'),
        e.ToolInputDelta(2, '{"é":1}'),
        e.ToolInputDelta(1, ""),
        e.ToolInputDelta(1, "1}"),
        e.BlockEnded(1),
        e.BlockEnded(2),
    ]
    deltas, message = both(*events)
    calls = [delta["tool_calls"][0] for delta in deltas[1:]]
    made = calls[1]["id"]
    assert made.startswith("call_")
    assert calls == [
        {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": made, "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"q":'}},
        {"index": 1, "function": {"arguments": '{"é":1}'}},
        {"index": 0, "function": {"arguments": "1}"}},
    ]
    assert message["tool_calls"] == [
        {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}},
        {"id": made, "type": "function", "function": {"name": "g", "arguments": '{"é":1}'}},
    ]


def test_a_call_without_input_gets_an_empty_object() -> None:
    deltas, message = both(*called())
    assert deltas[1] == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_free_form_call_comes_in_one_piece() -> None:
    deltas, message = both(*called("print(", "1)", name="py", kind="custom"))
    custom = {"id": "t1", "type": "custom", "custom": {"name": "py", "input": "print(1)"}}
    assert deltas == [{"tool_calls": [{"index": 0, **custom}]}]
    assert message["tool_calls"] == [custom]


def test_the_older_shape() -> None:
    legacy: Any = {"client_state": ChatState(legacy=True)}
    deltas, message = both(*called('{"q":', "1}"), **legacy)
    assert deltas == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"q":'}},
        {"function_call": {"arguments": "1}"}},
    ]
    assert message["function_call"] == {"name": "f", "arguments": '{"q":1}'}
    assert "tool_calls" not in message
    client = Client(**legacy).get(STARTED, *called(), *called("{}", block=1), ENDED)
    assert client.items[-2]["choices"][0]["finish_reason"] == "function_call"
    assert [delta for delta in client.deltas if "function_call" in delta][-1] == {"function_call": {"arguments": "{}"}}
    assert client.reported == ["response.content[1]:dropped"]


# ---- what else may come


def test_citations_count_code_points_of_the_joined_text() -> None:
    page = Citation("url", "x", "https://e.x", "E")
    inside = Citation("url", "x", "https://e.y", start=1, end=2)
    other = Citation("char_location", "x")
    events = [
        *said("So 😀 "),
        e.TextStarted(1),
        *(e.CitationAdded(1, citation) for citation in (page, inside, other)),
        e.TextDelta(1, "it is."),
        e.BlockEnded(1),
    ]
    deltas, message = both(*events)

    def cited(start: int, end: int, title: str, url: str) -> Any:
        place = {"start_index": start, "end_index": end, "title": title, "url": url}
        return {"type": "url_citation", "url_citation": place}

    expected = [cited(5, 11, "E", "https://e.x"), cited(6, 7, "", "https://e.y")]
    assert deltas[-1] == {"annotations": expected}
    assert message["annotations"] == expected
    assert Client().get(STARTED, *events).reported == ["response.content[1].citations:dropped"]


def test_what_only_another_api_knows_is_reported() -> None:
    events = [e.OpaqueStarted(0, "x", {"type": "y"}), e.OpaqueDelta(0, {"z": 1}), e.BlockEnded(0), *said("a", 1)]
    started = e.ResponseStarted("i", "m", extra={"container": {}})
    ended = e.ResponseEnded(StopReason.END, extra={"stop_details": {}})
    for stream in (True, False):
        client = Client(stream=stream).get(started, *events, ended)
        assert set(client.reported) == {
            "response.container:dropped",
            "response.content[0]:dropped",
            "response.stop_details:dropped",
        }
    assert Client().get(STARTED, *events).deltas[1:] == [{"content": "a"}]


def test_the_head_says_the_limits() -> None:
    meta = Meta("req_1", "7", limits={"requests-remaining": "0"}, resets={"requests": 460.5})
    head = Client(meta=meta, env=Env(now=100.5)).emitter.head
    assert set(head.headers) >= {
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-request-id", "req_1"),
        ("retry-after", "7"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "6m0s"),
    }


# ---- the official SDK reads what we write


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sse")), ids=lambda path: path.stem)
def test_the_sdk_reads_every_stream(path: Any) -> None:
    events = golden(path.stem).events
    out = Client(include_usage=True).get(*events).out
    chunks = sdk_chunks(out)
    if isinstance(events[-1], e.ResponseFailed):
        assert isinstance(chunks[-1], Exception)
        assert str(chunks.pop()) == events[-1].message
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "".join(x.text for x in events if type(x) is e.TextDelta) or path.stem == "refusal"
    assert len({(c.id, c.model, c.created) for c in chunks}) == 1


def sdk_chunks(data: bytes) -> list[Any]:
    import httpx2
    from openai import APIError

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = OpenAI(api_key="k", base_url="http://x/v1", http_client=transport)
    chunks: list[Any] = []
    try:
        for each in client.chat.completions.create(model="m", messages=[], stream=True):
            chunks.append(each)
    except APIError as error:
        chunks.append(error)
    return chunks


def test_the_sdk_reads_a_whole_answer() -> None:
    client = Client(stream=False).get(
        STARTED,
        *thought("w", signature="S", signer=CLAUDE),
        *said("a", 1),
        *called("{}", block=2),
        *called("x", block=3, kind="custom"),
        e.ResponseEnded(StopReason.TOOL_CALL, COUNTS),
    )
    parsed = ChatCompletion.model_validate(json.loads(client.out), strict=True)
    assert parsed.choices[0].message.tool_calls is not None
    assert [call.type for call in parsed.choices[0].message.tool_calls] == ["function", "custom"]
