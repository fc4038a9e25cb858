"""The library: one exchange, as its users call it."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import Any

import pytest

from extproc import Answer, Call, OutOfOrder, Refused, RouteError, Translation
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind
from extproc.settings import Limits
from extproc.translation.calls import render_error
from extproc.translation.course import Progress

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
JSON = [("content-type", "application/json")]
SSE = [("content-type", "text/event-stream")]


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def route(provider: str, **more: Any) -> dict[str, Any]:
    return {"provider": provider, "auth": "none", **more}


def refused(t: Translation, data: bytes, **more: Any) -> tuple[int, Any]:
    with pytest.raises(Refused) as caught:
        t.request(data, **more)
    assert ("content-type", "application/json") in caught.value.headers
    return caught.value.status, json.loads(caught.value.body)


# ---- whose dialect


@pytest.mark.parametrize(
    ("path", "data", "client"),
    [
        ("/v1/chat/completions", CHAT, "openai_chat"),
        ("/openai/v1/chat/completions?x=1", CHAT, "openai_chat"),
        ("/v1/messages?beta=true", MESSAGES, "anthropic_messages"),
        ("/anthropic/v1/messages", MESSAGES, "anthropic_messages"),
        ("/anything", CHAT, "openai_chat"),
        ("", CHAT, "openai_chat"),
    ],
)
@pytest.mark.rows("B6", "B33", "F1")
def test_the_client_is_told_from_path_and_body(path: str, data: Any, client: str) -> None:
    """B6, F1, F2."""
    t = Translation(route=route("openai"))
    t.request(body(data), path=path)
    assert t.client == client


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/models", "/v1/files", "/anything"])
def test_what_no_dialect_claims_is_a_404_in_openais_shape(path: str) -> None:
    status, error = refused(Translation(route=route("openai")), b"{}", path=path)
    assert status == 404
    assert error["error"]["type"] == "invalid_request_error" or error["error"]["type"] == "not_found_error"


def test_the_upstream_is_the_routes_or_the_clients_own() -> None:
    for provider, client, upstream in [
        ("openai", "openai_chat", "openai_chat"),
        ("openai", "anthropic_messages", "openai_chat"),
        ("anthropic", "openai_chat", "anthropic_messages"),
        ("anthropic", "anthropic_messages", "anthropic_messages"),
    ]:
        t = Translation(client, route=route(provider))
        t.request(body(MESSAGES))
        assert (t.client, t.upstream) == (client, upstream)
        assert t.passthrough == (client == upstream)


def test_wrong_names_are_the_operators_fault() -> None:
    with pytest.raises(RouteError, match="provider"):
        Translation(route={"provider": "opnai", "auth": "none"})
    with pytest.raises(ValueError, match="unknown dialect 'chat'"):
        Translation("chat", "openai_chat")
    with pytest.raises(RouteError, match="does not speak"):
        Translation("openai_chat", "bedrock_converse", route=route("openai")).request(body(CHAT))


# ---- passing through


@pytest.mark.rows("D33")
def test_same_dialect_leaves_the_bytes_alone() -> None:
    data = b'{ "messages" : [ {"role":"user","content":"\\u00e9 \xc3\xa9"} ],"model":"gpt-4o", "x_new": 1.0, "n":null }'
    t = Translation("openai_chat", "openai_chat")
    call = t.request(data, headers=[("content-type", "application/json; charset=utf-8"), ("x-trace", "1")])
    assert call.body is data
    assert ("x-trace", "1") in call.headers
    assert list(t.losses) == []


def test_only_members_that_the_route_sets_change() -> None:
    data = b'{"messages":[ {"role" : "user","content":"hi"} ],"model":"a","seed": 1.0}'
    t = Translation("openai_chat", route=route("openai", options={"model": "b", "temperature": 0.5}))
    sent = t.request(data).body
    assert b'[ {"role" : "user","content":"hi"} ]' in sent
    assert b"1.0" in sent
    assert json.loads(sent) == json.loads(data) | {"model": "b", "temperature": 0.5}
    assert (t.model_asked, t.model_sent, t.model) == ("a", "b", "b")


def test_a_passed_response_keeps_its_bytes_and_tells_its_usage() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    answer = body({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage, "new": [1]})
    t = Translation("openai_chat", "openai_chat")
    t.request(body(CHAT))
    t.response_head(200, [*JSON, ("x-ratelimit-limit-requests", "5"), ("set-cookie", "a=b")])
    assert not t.whole
    assert ("x-ratelimit-limit-requests", "5") in t.head.headers
    assert "set-cookie" not in dict(t.head.headers)
    assert t.response_body(answer[:20]) + t.response_body(answer[20:], True) == answer
    assert (t.usage.input_tokens, t.usage.output_tokens) == (3, 2)


@pytest.mark.rows("A25")
@pytest.mark.parametrize("left", [b"", b'data: {"id":"c","choi', b"event: x\n"])
def test_a_passed_stream_that_is_cut_gets_its_dialects_error(left: bytes) -> None:
    chunk = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    t = Translation("openai_chat", "openai_chat")
    t.request(body({**CHAT, "stream": True}))
    t.response_head(200, SSE)
    assert t.response_body(chunk) == chunk
    end = t.response_body(left, True)
    # An event by itself, wherever the upstream stopped.
    said = end.split(b"\n\n")[-2].strip()
    assert end.startswith(left) and json.loads(said.removeprefix(b"data: "))["error"]["code"] == "stream_truncated"
    assert t.truncated


@pytest.mark.parametrize(("data", "kept"), [(b"<html>", False), (b"", False), (b'{"error":{"message":"no"}}', True)])
def test_a_passed_error_is_replaced_only_if_it_is_no_json(data: bytes, kept: bool) -> None:
    t = Translation("anthropic_messages", "anthropic_messages")
    t.request(body(MESSAGES))
    t.response_head(503, [("content-type", "text/html")])
    assert t.whole
    out = t.response_body(data, True)
    assert (out == data) == kept
    if not kept:
        assert json.loads(out)["error"]["type"] == "overloaded_error"


# ---- credentials and headers


def test_no_credential_of_the_clients_goes_on_and_the_routes_do() -> None:
    headers = [("authorization", "Bearer client"), ("x-api-key", "client"), ("openai-organization", "o")]
    headers += [("anthropic-version", "2023-06-01"), ("accept-encoding", "gzip"), ("x-stainless-lang", "python")]
    ours = {"provider": "openai", "auth": {"header": {"Authorization": "Bearer ours"}}}
    t = Translation("anthropic_messages", route=ours)
    sent = t.request(body(MESSAGES), path="/v1/messages?beta=true", headers=headers)
    assert isinstance(sent, Call) and sent.path == "/v1/chat/completions"
    assert sent.headers == [("content-type", "application/json")]
    assert sent.all_headers() == [("content-type", "application/json"), ("authorization", "Bearer ours")]


@pytest.mark.parametrize("secret", ["SECRET-1", "SECRET-2", "SECRET-3", "SECRET-4", "SECRET-5"])
@pytest.mark.rows("D7")
def test_who_prints_a_call_sees_no_credential(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN_ENDPOINT", "SECRET-4")
    endpoint = "https://h.example/v1/messages?a=1&ref=${IN_ENDPOINT}&key=SECRET-5"
    auth = {"header": {"X-Api-Key": "SECRET-1", "x-team": "SECRET-2"}, "query": {"sig": "SECRET-3"}}
    t = Translation(route={"provider": "anthropic", "auth": auth, "override": {"endpoint": endpoint}})
    call = t.request(body(MESSAGES), path="/v1/messages?b=2&sig=theirs", headers=[("x-other", "o")])
    assert isinstance(call, Call) and call.path == "/v1/messages?b=2&a=1"
    assert call.full_path() == "/v1/messages?b=2&a=1&ref=SECRET-4&key=SECRET-5&sig=SECRET-3"
    assert secret not in repr(call) and secret not in f"{call.path}{call.headers}{t.route}"
    assert secret in call.full_path() or secret in dict(call.all_headers()).values()


# ---- losses


def test_losses_are_refused_reported_or_allowed() -> None:
    data = body({**MESSAGES, "top_k": 5})
    status, error = refused(Translation("anthropic_messages", route=route("openai", losses="reject")), data)
    assert status == 400
    assert "top_k" in error["error"]["message"]
    for how, header in [("report", [("x-llm-translation", "top_k:dropped")]), ("allow", [])]:
        t = Translation("anthropic_messages", route=route("openai", losses=how))
        t.request(data)
        assert t.report_headers() == header
        assert [str(loss) for loss in t.losses] == ["top_k:dropped"]


@pytest.mark.parametrize("streamed", [False, True])
def test_losses_of_a_whole_answer_stand_in_its_head(streamed: bool) -> None:
    t = Translation("anthropic_messages", route=route("openai", losses="report"))
    t.request(body({**MESSAGES, "top_k": 5, "stream": streamed}))
    t.response_head(200, SSE if streamed else JSON)
    message = {"role": "assistant", "content": "yes", "new": "n"}
    choice = {"index": 0, "delta" if streamed else "message": message, "finish_reason": "stop"}
    answer = json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode()
    t.response_body(b"data: " + answer + b"\n\ndata: [DONE]\n\n" if streamed else answer, end_of_stream=True)
    told = [value for name, value in t.head.headers if name == "x-llm-translation"]
    assert told == ["top_k:dropped" if streamed else "top_k:dropped,response.choices[0].message.new:dropped"]
    assert "response.choices[0].message.new:dropped" in map(str, t.losses)


def test_what_costs_only_money_is_not_refused() -> None:
    cached = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
    data = body({**MESSAGES, "messages": [{"role": "user", "content": cached}]})
    t = Translation("anthropic_messages", route=route("openai", losses="reject"))
    t.request(data)
    assert [str(loss) for loss in t.losses] == ["cache_control:dropped"]


def test_the_report_is_bounded_and_safe_in_a_header() -> None:
    extra = {f"x{'é' * 60}{n}": n + 1 for n in range(200)}
    t = Translation("anthropic_messages", route=route("openai", losses="report"))
    t.request(body({**MESSAGES, **extra}))
    ((_, value),) = t.report_headers()
    assert len(value) <= 2048
    assert re.fullmatch(r"[A-Za-z0-9_.\[\],:-]+", value)


# ---- bounds and broken answers


def test_a_request_beyond_the_limit_is_a_413() -> None:
    t = Translation("anthropic_messages", "openai_chat", limits=Limits(max_request_bytes=10))
    status, error = refused(t, body(MESSAGES))
    assert (status, error["error"]["type"]) == (413, "request_too_large")


def whole(t: Translation, data: bytes, headers: list[tuple[str, str]], status: int = 200) -> Any:
    t.response_head(status, headers)
    assert t.whole
    return json.loads(t.response_body(data[:7]) + t.response_body(data[7:], True))


def asked(**more: Any) -> Translation:
    t = Translation("anthropic_messages", "openai_chat", now=0, **more)
    t.request(body(MESSAGES))
    return t


ANSWER = body({
    "id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
})  # fmt: skip


PACKED: list[tuple[str, Any]] = [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress)]


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_compressed_answers_are_inflated(encoding: str, pack: Any) -> None:
    t = asked()
    assert whole(t, pack(ANSWER), [*JSON, ("content-encoding", encoding)])["content"][0]["text"] == "yes"
    assert not {"content-encoding", "content-length"} & set(dict(t.head.headers))


@pytest.mark.parametrize(
    ("data", "headers", "status", "problem"),
    [
        (b"x" * 50, [*JSON, ("content-encoding", "br")], 200, "'br'"),
        (b"x" * 50, [*JSON, ("content-encoding", "gzip")], 200, "broken"),
        (b"<html>oops</html>", [("content-type", "text/html")], 200, "HTTP 200 (text/html)"),
        (b"", [], 200, "no content type"),
        (b"null", JSON, 200, "not a JSON object"),
        (b'{"error": {"message": "no luck", "code": 429}}', JSON, 200, "no luck"),
        (b"[" * 100_000, JSON, 200, "HTTP 200"),
        (b"Internal Server Error", [("content-type", "text/plain")], 500, "Internal Server Error"),
    ],
)
@pytest.mark.rows("A15")
def test_broken_answers_are_errors_in_the_clients_shape(
    data: bytes, headers: list[tuple[str, str]], status: int, problem: str
) -> None:
    t = asked()
    error = whole(t, data, headers, status)
    assert error["type"] == "error"
    assert problem in error["error"]["message"]
    assert t.head.status == (429 if b"429" in data else 500 if status == 500 else 502)
    assert t.failed is not None


def test_an_answer_beyond_the_limit_is_a_502() -> None:
    t = asked(limits=Limits(max_response_bytes=20))
    assert "larger than 20 bytes" in whole(t, ANSWER, JSON)["error"]["message"]
    t = asked(limits=Limits(max_inflated_bytes=20))
    error = whole(t, gzip.compress(ANSWER), [*JSON, ("content-encoding", "gzip")])["error"]
    assert "larger than 20 bytes" in error["message"]


LONG = {"id": "c", "model": "m", "choices": [{"message": {"content": "x" * 99}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("client", ["anthropic_messages", "openai_chat"])
@pytest.mark.rows("D23")
def test_d23_a_routes_own_bound_of_an_answer(client: str, announced: bool) -> None:
    data = body(LONG)
    headers = [("content-type", "application/json"), *([("content-length", str(len(data)))] if announced else [])]
    for limit, status in ((len(data), 200), (len(data) - 1, 502)):
        t = Translation(client, route=route("openai", max_response_bytes=limit))
        t.request(body({**CHAT, "max_tokens": 5}))
        t.response_head(200, headers)
        out = t.response_body(data[:50]) + t.response_body(data[50:], end_of_stream=True)
        assert (t.failed is None) == (status == 200)
        if client == "openai_chat" and not announced:
            # It is under way before anyone could tell: it can only be broken off.
            assert t.cut == (status == 502) and len(out) == (50 if t.cut else len(data))
        else:
            assert t.head.status == status and (b"is larger than" in out) == (status == 502) and not t.cut


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_chat"])
@pytest.mark.rows("D23")
def test_d23_a_stream_beyond_the_bound_ends_in_an_error_and_is_cut(client: str) -> None:
    chunk = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"yes"}}]}\n\n'
    t = Translation(client, route=route("openai", max_response_bytes=len(chunk) * 2))
    t.request(body({**MESSAGES, "stream": True}))
    t.response_head(200, SSE)
    first = t.response_body(chunk + chunk[:20]) + t.response_body(chunk[20:])
    assert first.count(b"yes") == 2 and t.failed is None
    last = t.response_body(chunk)
    assert b"yes" not in last and b"is larger than" in last and t.failed is not None and not t.cut
    events = [line for line in last.splitlines() if line.startswith(b"data: ")]
    assert "error" in json.loads(events[-1].removeprefix(b"data: ")) and last.endswith(b"\n\n")
    assert t.response_body(b"data: [DONE]\n\n", end_of_stream=True) == b"" and t.cut


@pytest.mark.rows("D23")
def test_d23_what_comes_after_the_end_does_not_count() -> None:
    done = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{}}\n\ndata: [DONE]\n\n'
    t = Translation("openai_chat", route=route("openai", max_response_bytes=len(done)))
    t.request(body({**CHAT, "stream": True}))
    t.response_head(200, SSE)
    assert t.response_body(done) + t.response_body(b": bye\n\n", end_of_stream=True) == done + b": bye\n\n"
    assert t.failed is None and not t.cut


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_chat"])
def test_what_a_client_may_be_told_of_a_stream_has_an_end(client: str) -> None:
    chunk = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"yes"}}]}\n\n'
    t = Translation(client, route=route("openai"))
    t.most_told = 3000
    t.request(body({**MESSAGES, "stream": True}))
    t.response_head(200, SSE)
    told = [t.response_body(chunk)]
    while t.failed is None and len(told) < 100:
        told.append(t.response_body(chunk))
    assert 2000 < sum(map(len, told[:-1])) < 3000 and b"".join(told[:-1]).count(b"yes") == len(told) - 1
    events = [line for line in told[-1].splitlines() if line.startswith(b"data: ")]
    assert b"longer than the 3000 bytes" in told[-1] and "error" in json.loads(events[-1].removeprefix(b"data: "))
    assert not t.cut and t.response_body(chunk) == b"" and t.cut


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_chat"])
def test_an_end_that_the_client_may_not_be_told_is_none(client: str) -> None:
    chunk = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":"stop"}]}\n\n'
    t = Translation(client, route=route("openai"))
    t.most_told = 20
    t.request(body({**MESSAGES, "stream": True}))
    t.response_head(200, SSE)
    told = t.response_body(chunk + b"data: [DONE]\n\n", end_of_stream=True)
    assert b"yes" not in told and t.failed is not None and t.failed.code == "answer_too_large"
    assert t.cut or b"longer than the 20 bytes" in told


def test_a_whole_answer_that_is_more_than_a_client_may_be_told_is_an_error() -> None:
    t = Translation("anthropic_messages", route=route("openai"))
    t.most_told = 50
    t.request(body({**CHAT, "max_tokens": 5}))
    error = whole(t, body(LONG), JSON)["error"]
    assert "longer than the 50 bytes" in error["message"] and t.head.status == 502


@pytest.mark.rows("D23")
def test_d23_an_error_beyond_the_bound_is_one_of_ours() -> None:
    t = Translation("openai_chat", route=route("openai", max_response_bytes=10))
    t.request(body(CHAT))
    error = whole(t, body({"error": {"message": "x" * 99}}), JSON, 400)["error"]
    assert "larger than 10 bytes" in error["message"] and t.head.status == 502


@pytest.mark.rows("A9")
def test_a_stream_becomes_whole_and_a_whole_a_stream() -> None:
    chunks = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":"stop"}]}\n\n'
    assert whole(asked(), chunks + b"data: [DONE]\n\n", SSE)["content"][0]["text"] == "yes"
    t = Translation("anthropic_messages", "openai_chat", now=0)
    t.request(body({**MESSAGES, "stream": True}))
    t.response_head(200, JSON)
    assert t.whole
    out = t.response_body(ANSWER, True)
    assert ("content-type", "text/event-stream; charset=utf-8") in t.head.headers
    assert out.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


def test_a_failure_in_a_stream_that_must_become_whole_is_an_error_with_a_status() -> None:
    chunks = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"yes"}}]}\n\n'
    t = asked()
    assert whole(t, chunks, SSE)["error"]["message"] == "upstream stream ended prematurely"
    assert t.head.status == 502


def test_what_cannot_come_yet_is_the_callers_mistake() -> None:
    """Nothing is made up in the place of what did not come."""
    t = Translation("anthropic_messages", "openai_chat")
    for early in (lambda: t.response_head(200, JSON), lambda: t.response_body(b"x", True)):
        with pytest.raises(OutOfOrder, match="new"):
            early()
    t.request(body(MESSAGES))
    with pytest.raises(OutOfOrder, match="response_body before response_head"):
        t.response_body(b"x")
    with pytest.raises(OutOfOrder, match="sent"):
        t.request(body(MESSAGES))
    t.response_head(200, JSON)
    with pytest.raises(OutOfOrder, match="responding"):
        t.response_head(200, JSON)


def test_an_exchange_that_we_answer_has_no_response() -> None:
    t = Translation("anthropic_messages", route=route("deepseek"))
    answer = t.request(body({"model": "m", "messages": MESSAGES["messages"]}), path="/v1/messages/count_tokens")
    assert isinstance(answer, Answer) and (answer.status, answer.why) == (200, "estimated")
    assert json.loads(answer.body)["input_tokens"] > 0 and t.state is Progress.ANSWERED
    with pytest.raises(OutOfOrder, match="answered"):
        t.response_head(200, JSON)
    t = Translation("anthropic_messages", route=route("openai"))
    refused(t, b"{")
    with pytest.raises(OutOfOrder, match="answered"):
        t.response_head(200, JSON)


@pytest.mark.parametrize("over", [False, True])
def test_an_exchange_is_cancelled_unless_it_is_over(over: bool) -> None:
    t = asked()
    assert t.state is Progress.SENT
    if over:
        whole(t, ANSWER, JSON)
    t.cancel()
    assert t.cancelled is not over and t.state is (Progress.ENDED if over else Progress.CANCELLED)


def test_a_bug_of_ours_is_an_error_and_not_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    from extproc.dialects.openai_chat import OpenAIChat

    def broken(*_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(OpenAIChat, "emit_request", broken)
    status, error = refused(Translation("anthropic_messages", "openai_chat"), body(MESSAGES))
    assert (status, error["error"]["type"]) == (500, "api_error")
    monkeypatch.undo()
    monkeypatch.setattr(OpenAIChat, "response_parser", broken)
    t = asked()
    assert whole(t, ANSWER, JSON)["error"]["type"] == "api_error"


def test_errors_of_an_unknown_client_have_openais_shape() -> None:
    head, data = render_error(None, ResponseFailed(ErrorKind.NOT_FOUND, "nothing here", 404))
    assert head.status == 404
    assert json.loads(data)["error"]["message"] == "nothing here"


@pytest.mark.rows("F2")
def test_a_prefix_holds_for_the_library_too() -> None:
    route = {"provider": "openai", "auth": "none", "prefixes": {"anthropic_messages": "/anthropic"}}
    asked = body(MESSAGES)
    call = Translation(route=route).request(asked, path="/anthropic/v1/messages")
    assert isinstance(call, Call) and call.path == "/v1/chat/completions"
    with pytest.raises(Refused) as refusal:
        Translation(route=route).request(asked, path="/v1/messages")
    assert refusal.value.status == 404 and json.loads(refusal.value.body)["type"] == "error"


# ---- too much to be handled


@pytest.mark.parametrize(
    ("client", "path"), [("openai_chat", "/v1/chat/completions"), ("anthropic_messages", "/v1/messages")]
)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_request_of_too_many_values_is_a_413_before_it_is_decoded(client: str, path: str, provider: str) -> None:
    data = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"metadata":[' + b"[]," * 2_000_000
    status, error = refused(
        Translation(route=route(provider), limits=Limits(max_decoded_bytes=1 << 26)), data, path=path
    )
    assert status == 413 and "more values than can be handled" in error["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_too_many_values_fails_before_it_is_decoded(stream: bool) -> None:
    t = Translation(route=route("openai"), limits=Limits(max_decoded_bytes=1 << 26))
    t.request(body(MESSAGES | {"stream": stream}), path="/v1/messages")
    t.response_head(200, SSE if stream else JSON)
    many = b'{"choices":[' + b"[]," * 2_000_000 + b"1]}"
    out = t.response_body(b"data: " + many + b"\n\n" if stream else many, True)
    assert b"more values than can be handled" in out
    assert t.failed is not None and (stream or t.head.status == 502)


def test_what_stays_of_a_request_is_not_as_large_as_it() -> None:
    large = "x" * 1000
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"p": large}}
    schema = {"type": "object", "properties": {"p": {"type": "string", "description": large}}}
    request = {
        "model": "m",
        "max_tokens": 9,
        "system": large,
        "tools": [{"name": "f", "description": large, "input_schema": schema}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": large}]},
            {
                "role": "assistant",
                "content": [call],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": large}]},
        ],
    }
    t = Translation(route=route("openai"))
    t.request(body(request), path="/v1/messages")
    assert large not in repr(t._call) and "toolu_1" in repr(t._call)
