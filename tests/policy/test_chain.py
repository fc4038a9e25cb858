"""Policies between the dialects: on every pair of them, whole and streamed, passing traffic included."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import msgspec
import pytest

from extproc import Answer, Call, Refused, Translation
from extproc.effects import Effect, Failed, Failure, HttpAnswer, HttpCall, Result

pytestmark = pytest.mark.usefixtures("policies")

T = TypeVar("T")
REQUESTS: dict[str, bytes] = {
    "openai_chat": b'{"model":"m","messages":[ {"role":"user","content":"hi","name":"A"} ],"x_own":{"a": 1}}',
    "anthropic_messages": b'{"model":"m","max_tokens":9,"messages":[ {"role":"user","content":"hi"} ],'
    b'"x_own":{"a": 1}}',
}
ANSWERS: dict[str, bytes] = {
    "openai_chat": b'{"id":"r1","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"good evening"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
    b'"completion_tokens":2,"total_tokens":5}}',
    "anthropic_messages": b'{"id":"r1","type":"message","role":"assistant","model":"real","content":[{"type":"text",'
    b'"text":"good evening"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}',
}
STREAMS: dict[str, list[bytes]] = {
    "openai_chat": [
        b'data: {"id":"r1","model":"real","choices":[{"index":0,"delta":{"role":"assistant","content":"good "}}]}\n\n',
        b'data: {"id":"r1","model":"real","choices":[{"index":0,"delta":{"content":"evening"}}]}\n\n',
        b'data: {"id":"r1","model":"real","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\ndata: [DONE]\n\n',
    ],
    "anthropic_messages": [
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"r1","type":"message","role":"assistant",'
        b'"model":"real","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}\n\nevent: content_block_start\n'
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"good "}}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"evening"}}\n\n',
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\nevent: message_delta\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ],
}
PROVIDER = {"openai_chat": "openai", "anthropic_messages": "anthropic"}
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
PAIRS = [(client, upstream) for client in REQUESTS for upstream in REQUESTS]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)


def translation(client: str, upstream: str, *policies: dict[str, Any], **route: Any) -> Translation:
    made = {"provider": PROVIDER[upstream], "auth": "none", "policies": list(policies), **route}
    return Translation(client, upstream, route=made, now=1.0, request_id="id")


def asked(t: Translation, *, stream: bool = False, body: bytes | None = None) -> Call | Answer:
    client = t.client or ""
    sent = body or REQUESTS[client]
    if stream:
        sent = msgspec.json.encode({**msgspec.json.decode(sent), "stream": True})
    return t.request(sent, "POST", PATHS[client])


def answered(t: Translation, upstream: str, *, stream: bool = False) -> list[bytes]:
    """What the client gets for each piece of the answer, and at its end."""
    if not stream:
        t.response_head(200, [("content-type", "application/json")])
        return [t.response_body(ANSWERS[upstream], True)]
    t.response_head(200, [("content-type", "text/event-stream")])
    return [*map(t.response_body, STREAMS[upstream]), t.response_body(b"", True)]


@pairs
def test_an_edit_of_a_request_changes_that_and_nothing_else(client: str, upstream: str) -> None:
    call = asked(translation(client, upstream, {"marker": {"text": "added"}}))
    assert isinstance(call, Call) and b"added" in call.body and b"hi" in call.body
    if client == upstream:
        kept = b'{"role":"user","content":"hi","name":"A"}' if client == "openai_chat" else b'"content":"hi"}'
        assert kept in call.body and b'"x_own":{"a": 1}' in call.body, "to the byte"


@pairs
def test_what_no_policy_edits_goes_on_as_it_would_without(client: str, upstream: str) -> None:
    with_one = asked(translation(client, upstream, {"words": {"deny": ["bad"]}}))
    without = asked(translation(client, upstream))
    assert with_one == without
    if client == upstream:
        assert isinstance(with_one, Call) and with_one.body == REQUESTS[client]


@pairs
def test_they_run_in_the_operators_order(client: str, upstream: str) -> None:
    first = {"marker": {"text": "bad"}}, {"words": {"deny": ["bad"]}}
    assert isinstance(asked(translation(client, upstream, *first)), Answer)
    assert isinstance(asked(translation(client, upstream, *reversed(first))), Call)


@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_a_denied_request_is_answered_in_the_clients_shape(client: str, upstream: str, stream: bool) -> None:
    t = translation(client, upstream, {"words": {"deny": ["hi"]}})
    answer = asked(t, stream=stream)
    assert isinstance(answer, Answer) and (answer.status, answer.why) == (200, "denied")
    assert b"not this" in answer.body and t.denied_by == "words"
    kind = dict(answer.headers)["content-type"]
    assert kind.startswith("text/event-stream" if stream else "application/json")
    # A complete answer: its own dialect reads it as one that has ended well.
    reader = translation(client, client)
    asked(reader, stream=stream)
    reader.response_head(answer.status, answer.headers)
    reader.response_body(answer.body, True)
    assert reader.ended is not None and reader.ended.stop.value == "refusal"


@pairs
def test_a_denial_with_an_errors_status_is_an_error(client: str, upstream: str) -> None:
    answer = asked(translation(client, upstream, {"words": {"deny": ["hi"], "status": 403}}))
    assert isinstance(answer, Answer) and answer.status == 403
    assert "not this" in msgspec.json.decode(answer.body)["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_an_edit_of_an_answer(client: str, upstream: str, stream: bool) -> None:
    t = translation(client, upstream, {"marker": {"text": "x", "signs": True}})
    asked(t, stream=stream)
    got = b"".join(answered(t, upstream, stream=stream))
    assert b"GOOD" in got and b"EVENING" in got and b"good" not in got
    assert t.ended is not None and t.usage.output_tokens == 2 and t.model_answered == "real"


@pytest.mark.rows("B9")
@pytest.mark.parametrize("stream", [False, True])
@pairs
def test_a_denied_answer_shows_nothing_of_it_and_keeps_its_usage(client: str, upstream: str, stream: bool) -> None:
    t = translation(client, upstream, {"words": {"deny": ["evening"], "window": 1 << 40}})
    asked(t, stream=stream)
    got = b"".join(answered(t, upstream, stream=stream))
    assert b"evening" not in got and b"good" not in got and b"not that" in got and b"real" in got
    assert t.denied_by == "words" and t.ended is not None and t.ended.stop.value == "refusal"
    assert (t.usage.input_tokens, t.usage.output_tokens, t.model_answered) == (3, 2, "real")


@pairs
def test_what_a_window_has_cleared_has_gone_on_when_the_next_is_denied(client: str, upstream: str) -> None:
    t = translation(client, upstream, {"words": {"deny": ["evening"], "window": 5}})
    asked(t, stream=True)
    first, second, *rest = answered(t, upstream, stream=True)
    assert b"good" in first and b"not that" in second and rest == [b""] * len(rest)
    assert b"evening" not in first + second and t.ended is not None


@pairs
def test_text_is_held_until_its_window_is_full(client: str, upstream: str) -> None:
    t = translation(client, upstream, {"words": {"deny": ["bad"], "window": 8}})
    asked(t, stream=True)
    first, second, *_ = answered(t, upstream, stream=True)
    assert b"good" not in first and b"good" in second and b"evening" in second


@pairs
def test_without_hold_it_is_only_recorded(client: str, upstream: str) -> None:
    t = translation(client, upstream, {"words": {"deny": ["good evening"], "window": 1 << 40, "hold": False}})
    asked(t, stream=True)
    first, second, *_ = answered(t, upstream, stream=True)
    assert b"good" in first and b"evening" in second
    assert t.denied_by == "words" and t.ended is not None and t.ended.stop.value == "end"


@pairs
def test_errors_of_the_upstream_are_not_asked_about(client: str, upstream: str) -> None:
    t = translation(client, upstream, {"service": {"url": "http://s", "answers": True, "fail": "open"}})
    asked(t)
    t.response_head(429, [("content-type", "application/json")])
    error = {"error": {"type": "rate_limit_error", "message": "slow down", "code": "x"}, "type": "error"}
    assert b"slow down" in t.response_body(msgspec.json.encode(error), True) and t.head.status == 429


@pairs
def test_a_stream_that_breaks_off_fails_after_what_was_held(client: str, upstream: str) -> None:
    t = translation(client, upstream, {"words": {"window": 1 << 40}})
    asked(t, stream=True)
    t.response_head(200, [("content-type", "text/event-stream")])
    got = t.response_body(STREAMS[upstream][0]) + t.response_body(b"", True)
    assert got.index(b"good") < got.index(b"error") and t.failed is not None


def driven(steps: Generator[Effect, Result, T], *results: Result) -> tuple[list[Effect], T]:
    """What *steps* ask for, given *results* for it, and what they come to."""
    effects = []
    try:
        effects.append(next(steps))
        for result in results:
            effects.append(steps.send(result))
    except StopIteration as ended:
        return effects, ended.value
    raise AssertionError("it asks for more")


@pairs
def test_a_policy_asks_a_service(client: str, upstream: str) -> None:
    t = translation(client, upstream, {"service": {"url": "http://s", "answers": True}})
    sent = REQUESTS[client]
    effects, call = driven(t.requesting(sent, "POST", PATHS[client]), HttpAnswer(200))
    assert effects == [HttpCall("http://s", body=b"request", seconds=20.0)] and isinstance(call, Call)
    t.response_head(200, [("content-type", "application/json")])
    effects, got = driven(t.responding(ANSWERS[upstream], True), HttpAnswer(451))
    assert effects == [HttpCall("http://s", body=b"last", seconds=20.0)]
    assert b"the service says no" in got and b"evening" not in got
    assert t.policy_facts == {"service_status": 451}


@pytest.mark.parametrize("result", [Failed(Failure.TIMEOUT), HttpAnswer(503)])
@pairs
def test_a_policy_that_cannot_say(client: str, upstream: str, result: Result) -> None:
    for fail, kind in (("open", Call), ("closed", Answer)):
        t = translation(client, upstream, {"service": {"url": "http://s", "fail": fail}})
        _, made = driven(t.requesting(REQUESTS[client], "POST", PATHS[client]), result)
        assert isinstance(made, kind)
        if isinstance(made, Answer):
            assert made.status in (503, 529) and t.denied_by == "service"
        else:
            assert t.policy_facts == {"service_skipped": True} and not t.denied_by


def test_without_a_server_nothing_can_be_asked() -> None:
    assert isinstance(asked(translation("openai_chat", "openai_chat", {"service": {"url": "http://s"}})), Answer)


def test_a_bug_is_treated_as_one_that_cannot_say(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(asked(translation("openai_chat", "openai_chat", {"broken": {"fail": "open"}})), Call)
    assert isinstance(asked(translation("openai_chat", "openai_chat", {"broken": None})), Answer)
    assert "ZeroDivisionError" in caplog.text


def test_an_illegal_edit_of_an_answer_is_an_error() -> None:
    t = translation("openai_chat", "anthropic_messages", {"illegal": {}})
    asked(t)
    got = b"".join(answered(t, "anthropic_messages"))
    assert b"policy_error" in got and t.head.status == 502


def test_a_request_that_cannot_be_read() -> None:
    unread = b'{"model":"m","messages":[{"role":"user","content":17}]}'
    for fail, passes in (("open", True), ("closed", False)):
        t = translation("openai_chat", "openai_chat", {"words": {"fail": fail}})
        if passes:
            call = asked(t, body=unread)
            assert isinstance(call, Call) and call.body == unread
        else:
            with pytest.raises(Refused):
                asked(t, body=unread)
