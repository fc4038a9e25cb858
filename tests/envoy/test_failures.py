"""What goes wrong, and what the client's SDK makes of it, in both placements."""

from __future__ import annotations

import gzip
import http.client
import socket
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import Gate, ScriptedAnswer, json_answer, sse_answer
from tests.support.gateway import Gateway
from tests.support.upstream import (
    chat,
    chat_chunk,
    chat_stream,
    events,
    eventually,
    message,
    message_events,
    text_block,
)

HI: Any = [{"role": "user", "content": "hi"}]


def ask_openai_upstream(envoy: Gateway, **options: Any) -> Any:
    return envoy.anthropic().messages.create(model="gpt-5", max_tokens=99, messages=HI, **options)


def ask_anthropic_upstream(envoy: Gateway, **options: Any) -> Any:
    return envoy.openai().chat.completions.create(model="claude-haiku-4-5", messages=HI, **options)


# ---- before the answer


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
    ],
)
@pytest.mark.rows("A10")
def test_openai_errors_are_anthropics_own(
    envoy: Gateway, status: int, kind: str, error: type[anthropic.APIStatusError]
) -> None:
    # Envoy tries again: the second answer is the client's.
    failure = as_openai.failure(status, "so says the upstream", "whatever")
    envoy.openai_upstream.will(failure, failure)
    with pytest.raises(error, match="so says the upstream") as raised:
        ask_openai_upstream(envoy)
    assert raised.value.status_code == status
    assert raised.value.body["error"]["type"] == kind  # type: ignore[index]


def test_an_overloaded_openai_upstream_is_overloaded_in_anthropics_words(envoy: Gateway) -> None:
    failure = as_openai.failure(503, "The server is overloaded", "server_error")
    envoy.openai_upstream.will(failure, failure)
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask_openai_upstream(envoy)
    assert raised.value.status_code == 529
    assert raised.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", openai.BadRequestError),
        (401, "authentication_error", openai.AuthenticationError),
        (403, "permission_error", openai.PermissionDeniedError),
        (404, "not_found_error", openai.NotFoundError),
        (429, "rate_limit_error", openai.RateLimitError),
        (529, "overloaded_error", openai.InternalServerError),
    ],
)
@pytest.mark.rows("A10", "C13")
def test_anthropic_errors_are_openais_own(
    envoy: Gateway, status: int, kind: str, error: type[openai.APIStatusError]
) -> None:
    failure = as_anthropic.failure(status, "so says the upstream", kind)
    envoy.anthropic_upstream.will(failure, failure)
    with pytest.raises(error, match="so says the upstream") as raised:
        ask_anthropic_upstream(envoy)
    assert raised.value.status_code == (503 if status == 529 else status)


def test_errors_for_a_streaming_client_come_before_the_stream(envoy: Gateway) -> None:
    envoy.anthropic_upstream.will(as_anthropic.failure(400, "bad", "invalid_request_error"))
    with pytest.raises(openai.BadRequestError, match="bad"):
        ask_anthropic_upstream(envoy, stream=True)


HTML = ScriptedAnswer([b"<html><body>Bad Gateway</body></html>"], 502, (("content-type", "text/html"),))
EMPTY = ScriptedAnswer([], 502, ())
HTML_200 = ScriptedAnswer([b"<html>Welcome</html>"], 200, (("content-type", "text/html"),))


@pytest.mark.parametrize("answer", [HTML, EMPTY, HTML_200], ids=["html", "empty", "html-200"])
@pytest.mark.rows("A15")
def test_answers_that_are_no_json_are_errors_in_the_clients_shape(envoy: Gateway, answer: ScriptedAnswer) -> None:
    envoy.openai_upstream.will(answer, answer)
    envoy.anthropic_upstream.will(answer, answer)
    with pytest.raises(anthropic.InternalServerError) as raised:
        ask_openai_upstream(envoy)
    assert raised.value.body["type"] == "error"  # type: ignore[index]
    with pytest.raises(openai.InternalServerError) as other:
        ask_anthropic_upstream(envoy)
    assert (raised.value.status_code, other.value.status_code) == (502, 502)
    assert other.value.body["message"]  # type: ignore[index]


def test_a_200_that_carries_an_error_is_an_error(envoy: Gateway) -> None:
    answer = json_answer({"error": {"message": "no such thing", "type": "invalid_request_error", "code": 404}})
    envoy.openai_upstream.will(answer, answer)
    with pytest.raises(anthropic.APIStatusError, match="no such thing"):
        ask_openai_upstream(envoy)


@pytest.mark.rows("A9")
def test_a_wrong_content_type_hides_no_answer(envoy: Gateway) -> None:
    plain = chat("hello")
    envoy.openai_upstream.will(ScriptedAnswer(plain.chunks, 200, (("content-type", "text/plain"),)))
    assert ask_openai_upstream(envoy).content[0].text == "hello"


def test_a_compressed_answer_is_read(envoy: Gateway) -> None:
    plain = chat("hello")
    packed = gzip.compress(b"".join(chunk for chunk in plain.chunks if isinstance(chunk, bytes)))
    head = (("content-type", "application/json"), ("content-encoding", "gzip"))
    envoy.openai_upstream.will(ScriptedAnswer([packed], 200, head))
    assert ask_openai_upstream(envoy).content[0].text == "hello"


def test_an_unreadable_compression_is_an_error(envoy: Gateway) -> None:
    answer = ScriptedAnswer([b"\x8b\x01\x80"], 200, (("content-type", "application/json"), ("content-encoding", "br")))
    envoy.openai_upstream.will(answer, answer)
    with pytest.raises(anthropic.InternalServerError) as raised:
        ask_openai_upstream(envoy)
    assert raised.value.status_code == 502


@pytest.mark.rows("A9")
def test_a_whole_answer_to_a_streaming_client_is_a_stream(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat("hello"))
    with envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream:
        assert stream.get_final_text() == "hello"


@pytest.mark.rows("A9")
def test_a_stream_to_a_client_that_wants_none_is_whole(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat_stream({"content": "hel"}, {"content": "lo"}))
    assert ask_openai_upstream(envoy).content[0].text == "hello"


def test_a_large_answer_is_whole(envoy: Gateway) -> None:
    text = "x" * 5_000_000
    envoy.openai_upstream.will(chat(text))
    assert ask_openai_upstream(envoy).content[0].text == text


# ---- within the answer


def test_an_error_within_an_openai_stream_is_anthropics_error_event(envoy: Gateway) -> None:
    failure = {"error": {"message": "out of memory", "type": "server_error", "code": None}}
    chunks = events(chat_chunk(role="assistant", content="par"), failure)
    envoy.openai_upstream.will(sse_answer(chunks))
    with (
        pytest.raises(anthropic.APIStatusError, match="out of memory"),
        envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream,
    ):
        stream.get_final_message()


def test_an_error_within_an_anthropic_stream_is_openais_error(envoy: Gateway) -> None:
    failure = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    envoy.anthropic_upstream.will(sse_answer(events(*message_events(text_block("par"), stop=None), failure)))
    with pytest.raises(openai.APIError, match="Overloaded"):
        list(ask_anthropic_upstream(envoy, stream=True))


def test_an_openai_stream_that_ends_early_is_an_error_for_anthropics_sdk(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat_stream({"content": "par"}, finish=None, done=False))
    with (
        pytest.raises(anthropic.APIStatusError),
        envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream,
    ):
        stream.get_final_message()


def test_an_anthropic_stream_that_ends_early_is_an_error_for_openais_sdk(envoy: Gateway) -> None:
    envoy.anthropic_upstream.will(sse_answer(events(*message_events(text_block("par"), stop=None))))
    with pytest.raises(openai.APIError):
        list(ask_anthropic_upstream(envoy, stream=True))


def test_a_missing_done_alone_is_no_error(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat_stream({"content": "hello"}, done=False))
    with envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"


def test_an_event_beyond_all_bounds_is_an_error(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat_stream({"content": "par"}, {"content": "x" * 17 * 1024 * 1024}))
    with (
        pytest.raises(anthropic.APIStatusError),
        envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream,
    ):
        stream.get_final_message()


@pytest.mark.parametrize("garbage", [b'data: {"a": \xff\xfe}\n\n', b"data: " + b"[" * 100_000 + b"\n\n"])
def test_garbage_in_a_stream_never_looks_complete(envoy: Gateway, garbage: bytes) -> None:
    first = events(chat_chunk(role="assistant", content="par"))
    envoy.openai_upstream.will(sse_answer([*first, garbage, garbage]))
    reply = envoy.messages("gpt-5", stream=True)
    assert b"event: error" in reply.body and b"message_stop" not in reply.body


@pytest.mark.rows("A25")
def test_a_reset_in_mid_stream_breaks_the_transfer(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat_stream({"content": "par"}, finish=None, done=False, ending="reset", pause=0.05))
    with (
        pytest.raises((anthropic.APIError, httpx2.HTTPError)),
        envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream,
    ):
        stream.get_final_message()


@pytest.mark.rows("A25")
def test_a_reset_in_mid_stream_never_looks_complete(envoy: Gateway) -> None:
    envoy.anthropic_upstream.will(
        sse_answer(events(*message_events(text_block("par"), stop=None)), ending="reset", pause=0.05)
    )
    reply = envoy.chat("claude-haiku-4-5", stream=True)
    assert reply.broken
    assert b'"par"' in reply.body and b"[DONE]" not in reply.body and b'"finish_reason":"stop"' not in reply.body


@pytest.mark.rows("A15")
def test_a_whole_answer_that_breaks_off_is_an_error(envoy: Gateway) -> None:
    broken = ScriptedAnswer(chat("hello").chunks, ending="reset")
    envoy.openai_upstream.will(broken, broken)
    with pytest.raises(anthropic.APIError):
        ask_openai_upstream(envoy)


def test_an_upstream_that_closes_without_a_word_is_envoys_error_in_the_clients_shape(envoy: Gateway) -> None:
    undo = envoy.openai_upstream.always(_hang_up)
    try:
        reply = envoy.messages("gpt-5")
    finally:
        undo()
    assert reply.status in (502, 503, 529)
    assert reply.json["type"] == "error"


def _hang_up(request: object) -> ScriptedAnswer:
    raise ConnectionResetError


@pytest.mark.rows("A25", "B23")
def test_a_client_that_goes_away_leaves_nothing_open(envoy: Gateway) -> None:
    gate = Gate()
    envoy.anthropic_upstream.will(sse_answer([*events(*message_events(text_block("par"), stop=None)), gate]))
    connection = http.client.HTTPConnection("127.0.0.1", envoy.envoy.port, timeout=10)
    with closing(connection):
        body = b'{"model": "claude-haiku-4-5", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        assert b"data: " in connection.getresponse().read1()
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: envoy.anthropic_upstream.gone == 1), "the upstream's stream was left open"
    active = "cluster.extproc.upstream_rq_active"
    assert eventually(lambda: sum(envoy.envoy.stats(active).values()) == 0), "a stream of the sidecar was left open"
    assert ask_openai_upstream(envoy).stop_reason == "end_turn"


def test_a_slow_upstream_is_waited_for(envoy: Gateway) -> None:
    plain = chat("at last")
    envoy.openai_upstream.will(ScriptedAnswer(plain.chunks, delay=3.0))
    begun = time.monotonic()
    assert ask_openai_upstream(envoy).content[0].text == "at last"
    assert time.monotonic() - begun >= 3.0


# ---- the client's fault


def test_a_body_that_is_no_json_is_refused(envoy: Gateway) -> None:
    reply = envoy.send("/v1/messages", b'{"model": "gpt-5", "max')
    # Which model it is for cannot be known, so either the route or the body may be what is named as wrong.
    assert reply.status in (400, 404)
    assert reply.json["type"] == "error"
    assert envoy.openai_upstream.received == []


def test_a_request_that_says_too_little_is_refused(envoy: Gateway) -> None:
    reply = envoy.send("/v1/messages", {"model": "gpt-5", "messages": "hi"})
    assert reply.status == 400 and reply.json["error"]["type"] == "invalid_request_error"
    other = envoy.send("/v1/chat/completions", {"model": "claude-haiku-4-5"})
    assert other.status == 400 and other.json["error"]["type"] == "invalid_request_error"
    assert envoy.openai_upstream.received == envoy.anthropic_upstream.received == []


def test_an_unknown_model_is_a_404_in_the_clients_shape(envoy: Gateway) -> None:
    with pytest.raises(anthropic.NotFoundError):
        envoy.anthropic().messages.create(model="no-such-model", max_tokens=9, messages=HI)
    with pytest.raises(openai.NotFoundError):
        envoy.openai().chat.completions.create(model="no-such-model", messages=HI)


def test_a_request_that_is_too_large_is_a_413_in_the_clients_shape(envoy: Gateway) -> None:
    reply = envoy.messages("gpt-5", x="x" * 68_000_000)
    assert reply.status == 413
    assert reply.json["error"]["type"] == "request_too_large"


@pytest.mark.parametrize(
    ("method", "path", "shape"),
    [
        ("GET", "/", "openai"),
        ("GET", "/v1/files", "openai"),
        ("POST", "/v1/nothing", "openai"),
        ("POST", "/v1/fine_tuning/jobs", "openai"),
        ("GET", "/v1/messages", "anthropic"),
        ("POST", "/v1/messages/drafts", "anthropic"),
    ],
)
def test_unknown_paths_are_answered_as_an_api_would(envoy: Gateway, method: str, path: str, shape: str) -> None:
    body = {"model": "gpt-5", "messages": HI, "max_tokens": 9} if method == "POST" else None
    reply = envoy.send(path, body, method=method)
    assert reply.status == 404 and reply.headers["content-type"] == "application/json"
    assert reply.json["error"]["message"]
    assert ("type" in reply.json) is (shape == "anthropic")
    assert envoy.openai_upstream.received == []


def test_a_probe_is_answered(envoy: Gateway) -> None:
    """Claude Code looks so whether someone is there."""
    reply = envoy.send("/", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")


def test_an_api_may_stand_at_any_path(envoy: Gateway) -> None:
    reply = envoy.send("/anything", {"model": "gpt-5", "messages": HI})
    assert reply.status == 200 and reply.json["object"] == "chat.completion"
    assert envoy.openai_upstream.last.path == "/v1/chat/completions"


def test_a_client_cannot_choose_the_route_itself(envoy: Gateway) -> None:
    body = {"model": "gpt-5", "max_tokens": 9, "messages": HI}
    assert envoy.send("/v1/messages", body, {"x-extproc-model": "claude-haiku-4-5"}).status == 200
    assert len(envoy.openai_upstream.received) == 1
    assert not [name for name, _ in envoy.openai_upstream.last.headers if name.startswith("x-extproc")]


# ---- the operator's fault


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("bad-yaml", "route"),
        ("bad-provider", "provider"),
        ("bad-key", "colour"),
        ("bad-secret", "NOT_SET_ANYWHERE"),
        ("bad-pair", "bedrock_converse"),
    ],
)
@pytest.mark.parametrize("ask", [Gateway.messages, Gateway.chat], ids=["anthropic", "openai"])
def test_bad_metadata_is_a_500_that_says_what_is_wrong(
    envoy: Gateway, model: str, named: str, ask: Callable[[Gateway, str], Any]
) -> None:
    reply = ask(envoy, model)
    assert reply.status == 500
    assert named in reply.json["error"]["message"]
    assert ("type" in reply.json) is (ask is Gateway.messages)
    assert envoy.openai_upstream.received == []
    assert "Bearer" not in reply.json["error"]["message"]


def test_envoys_own_503_has_the_clients_shape(envoy: Gateway) -> None:
    reply = envoy.messages("dead")
    assert reply.status in (503, 529) and reply.json["type"] == "error"
    assert reply.headers["content-type"] == "application/json"
    other = envoy.chat("dead")
    assert other.status == 503 and other.json["error"]["message"]


def test_a_whole_answer_keeps_its_usage(envoy: Gateway) -> None:
    envoy.anthropic_upstream.will(json_answer(message({"type": "text", "text": "hi"})))
    usage = ask_anthropic_upstream(envoy).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 5, 16)
