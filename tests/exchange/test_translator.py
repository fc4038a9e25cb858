"""Conversations of the translator role: phases, placements, attempts."""

from __future__ import annotations

import gc
import gzip
from typing import Any

import msgspec
import pytest

from extproc.credentials.permitted import permitted
from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.exchange.attempts import MEMORY, Memory
from extproc.exchange.translator import Translator
from extproc.headers import CREDENTIAL_HEADERS
from extproc.settings import Limits
from extproc.telemetry.outcome import Ending

from .conversation import ANTHROPIC, OPENAI, Conversation, leaf, shared

HI: Any = [{"role": "user", "content": "hi"}]
MESSAGES = {"model": "claude-x", "max_tokens": 9, "messages": HI}
CHAT = {"model": "gpt-5", "messages": HI}
SSE = {"content-type": "text/event-stream", "content-length": "999"}
JSON = {"content-type": "application/json", "content-length": "999"}
CLIENT = {
    "x-api-key": "key-of-the-client",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "some-beta",
    "content-type": "application/json",
    "content-length": "1",
    "accept-encoding": "gzip",
    "user-agent": "sdk",
    "x-request-id": "req-7",
}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-2026",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
}


def chunks(*texts: str, done: bool = True) -> list[bytes]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2026"}
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    values: list[Any] = [{**base, "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    if done:
        values.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        values.append({**base, "choices": [], "usage": usage})
    made = [b"data: " + msgspec.json.encode(value) + b"\n\n" for value in values]
    return [*made, b"data: [DONE]\n\n"] if done else made


def started(body: Any = MESSAGES, route: str = OPENAI, **options: Any) -> Conversation:
    """A Messages client whose request has gone to an OpenAI upstream."""
    envoy = Conversation(**options)
    assert envoy.headers("/v1/messages?beta=true", CLIENT, attributes=leaf(route)) is not None
    envoy.body(body)
    assert envoy.immediate is None, envoy.immediate
    return envoy


# ---- the request


def test_the_headers_are_held_until_the_body_has_come() -> None:
    envoy = Conversation()
    answer = envoy.headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    assert answer is not None
    assert not answer.request_headers.response.HasField("header_mutation")
    assert not answer.HasField("mode_override")


def test_a_request_is_translated() -> None:
    envoy = started()
    assert envoy.upstream[":path"] == "/v1/chat/completions"
    assert envoy.upstream["authorization"] == "Bearer key-of-openai"
    assert envoy.upstream["content-length"] == str(len(envoy.sent))
    assert envoy.upstream["user-agent"] == "sdk"
    assert not {"x-api-key", "anthropic-version", "anthropic-beta", "accept-encoding"} & set(envoy.upstream)
    assert envoy.sent_json["messages"] == HI
    assert not envoy.cleared


def test_a_buffered_body_is_whole_whatever_its_flag() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    envoy.body(MESSAGES, end=False)
    assert envoy.upstream[":path"] == "/v1/chat/completions"
    assert envoy.trailers("request_trailers") is not None
    envoy.answer(200, JSON)
    assert envoy.override == ProcessingMode.BUFFERED


def test_the_same_api_on_both_sides_leaves_the_bytes_and_says_nothing_of_them() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT | {"content-length": "64"}, attributes=leaf(ANTHROPIC))
    body = b'{ "model":"claude-x",  "max_tokens":9,"messages":[],"odd": 1.0  }'
    envoy.request = [(k, str(len(body)) if k == "content-length" else v) for k, v in envoy.request]
    answer = envoy.body(body)
    assert answer is not None
    assert not answer.request_body.response.HasField("body_mutation")
    assert envoy.upstream["x-api-key"] == "key-of-anthropic"
    assert envoy.upstream["anthropic-beta"] == "some-beta"
    assert envoy.upstream["content-length"] == str(len(body))


def test_a_route_with_its_own_host_names_the_authority() -> None:
    route = "{provider: openai, auth: none, override: {endpoint: 'https://llm.example/base/v1/chat/completions'}}"
    envoy = started(route=route)
    assert envoy.upstream[":authority"] == "llm.example"
    assert envoy.upstream[":path"].startswith("/base/v1/chat/completions")


@pytest.mark.parametrize(
    "attributes",
    [leaf(route="{client: anthropic_messages}", endpoint=OPENAI), leaf(cluster=OPENAI), leaf(endpoint=OPENAI)],
    ids=["route+endpoint", "cluster", "endpoint"],
)
def test_metadata_of_any_level(attributes: dict[str, Any]) -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes=attributes)
    envoy.body(MESSAGES)
    assert envoy.upstream["authorization"] == "Bearer key-of-openai"


def test_the_clients_api_may_be_told_by_the_route() -> None:
    envoy = Conversation()
    envoy.headers("/odd", CLIENT, attributes=leaf("{client: anthropic_messages, provider: openai, auth: none}"))
    envoy.body(b"[1]")
    assert envoy.immediate is not None
    assert envoy.immediate[0] == 400 and envoy.immediate[2]["type"] == "error"


# ---- refusals


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("provider: [", "route"),
        ("{provider: nobody}", "nobody"),
        ("{provider: openai, colour: blue}", "colour"),
        ("{provider: openai, auth: {header: {authorization: 'Bearer ${NOT_SET_ANYWHERE}'}}}", "NOT_SET_ANYWHERE"),
        ("", "no route metadata"),
    ],
)
def test_a_wrong_route_is_a_500_in_the_clients_shape(text: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        envoy = Conversation()
        if envoy.headers("/v1/messages", CLIENT, attributes=leaf(text)) and envoy.immediate is None:
            envoy.body(MESSAGES)
        assert envoy.immediate is not None
        status, _, error, details = envoy.immediate
        assert (status, details, error["type"]) == (500, "extproc_route_error", "error")
        assert says in error["error"]["message"]
        assert envoy.close().ending is Ending.REFUSED
    assert sum(says in record.message for record in caplog.records) <= 1


def test_a_body_that_is_no_json_is_refused() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    envoy.body(b'{"model": ')
    assert envoy.immediate is not None
    status, headers, error, details = envoy.immediate
    assert (status, details) == (400, "extproc_refused")
    assert headers["content-type"].startswith("application/json")
    assert error["error"]["type"] == "invalid_request_error"
    assert envoy.metadata["error"] == "refused" and envoy.metadata["client"] == "anthropic_messages"


def test_losses_are_rejected_where_the_route_says_so() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes=leaf("{provider: openai, auth: none, losses: reject}"))
    envoy.body({**MESSAGES, "top_k": 3})
    assert envoy.immediate is not None
    assert envoy.immediate[0] == 400 and "top_k" in envoy.immediate[2]["error"]["message"]


def test_losses_are_reported_where_the_route_says_so() -> None:
    envoy = started({**MESSAGES, "top_k": 3}, route="{provider: openai, auth: none, losses: report}")
    assert "top_k:dropped" in envoy.metadata["losses"]
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(COMPLETION), end=True)
    assert "top_k:dropped" in envoy.client["x-llm-translation"]


def test_a_request_that_is_too_large() -> None:
    envoy = Conversation(Translator(shared(Limits(max_request_bytes=50))))
    envoy.headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    envoy.body({**MESSAGES, "x": "y" * 50})
    assert envoy.immediate is not None and envoy.immediate[0] == 413


def test_other_paths() -> None:
    unknown: tuple[tuple[str, dict[str, str], str | None], ...] = (
        ("/v1/nothing", {}, None), ("/v1/nothing", CLIENT, "error"), ("/v1/messages/batches", {}, "error")
    )  # fmt: skip
    for path, headers, api in unknown:
        envoy = Conversation()
        envoy.headers(path, headers, attributes=leaf(OPENAI))
        envoy.body(MESSAGES)
        assert envoy.immediate is not None
        assert envoy.immediate[0] == 404 and envoy.immediate[2].get("type") == api
    envoy = Conversation()
    envoy.headers("/?probe", CLIENT, method="HEAD", end=True)
    assert envoy.immediate is not None and envoy.immediate[0] == 200


ON_LISTENER = {"upstream.request_attempt_count": 0.0}


@pytest.mark.parametrize(("path", "method", "end"), [("/web", "GET", True), ("/upload", "POST", False)])
def test_on_the_listener_a_route_that_says_nothing_keeps_what_is_no_llm_api(path: str, method: str, end: bool) -> None:
    envoy = Conversation()
    answer = envoy.headers(path, method=method, end=end, attributes=ON_LISTENER)
    assert answer is not None and envoy.immediate is None
    mode = answer.mode_override
    assert (mode.request_body_mode, mode.response_body_mode) == (ProcessingMode.NONE, ProcessingMode.NONE)
    assert mode.response_header_mode == ProcessingMode.SKIP
    assert envoy.close().ending is Ending.PASSED


@pytest.mark.parametrize(
    ("path", "attributes", "status"),
    [("/v1/messages", ON_LISTENER, 500), ("/web", {**ON_LISTENER, **leaf(OPENAI)}, 404), ("/web", {}, 500)],
)
def test_a_translator_answers_for_all_else(path: str, attributes: dict[str, Any], status: int) -> None:
    envoy = Conversation()
    envoy.headers(path, CLIENT, attributes=attributes)
    if envoy.immediate is None:
        envoy.body({"a": 1})
    assert envoy.immediate is not None and envoy.immediate[0] == status


@pytest.mark.parametrize("mode", [ProcessingMode.NONE, ProcessingMode.STREAMED])
def test_on_the_listener_responses_headers_are_asked_for_once_a_request_has_come(mode: int) -> None:
    envoy = Conversation(mode=mode)
    answer = envoy.headers("/v1/messages", CLIENT, attributes={**ON_LISTENER, **leaf(OPENAI)})
    assert answer is not None
    asked = answer.mode_override
    assert (asked.request_body_mode, asked.response_header_mode) == (ProcessingMode.BUFFERED, ProcessingMode.SEND)
    assert (asked.response_body_mode, asked.response_trailer_mode) == (ProcessingMode.BUFFERED, ProcessingMode.SEND)
    upstream = Conversation(mode=mode).headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    assert upstream is not None and not upstream.HasField("mode_override"), "there they are configured"


def test_a_request_of_trailers_alone() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    envoy.trailers("request_trailers")
    assert envoy.immediate is not None and envoy.immediate[0] == 400


# ---- the response


def test_a_whole_answer_is_held_and_translated_at_once() -> None:
    envoy = started()
    answer = envoy.answer(200, JSON)
    assert answer is not None
    assert envoy.override == ProcessingMode.BUFFERED
    assert answer.mode_override.response_trailer_mode == ProcessingMode.SEND
    assert not answer.response_headers.response.header_mutation.set_headers
    # Trailers follow: the body is whole all the same.
    envoy.chunk(msgspec.json.encode(COMPLETION), end=False)
    assert envoy.got_json["content"] == [{"type": "text", "text": "hello"}]
    assert envoy.client["content-length"] == str(len(envoy.got))
    envoy.trailers()
    outcome = envoy.close()
    assert (outcome.ending, outcome.status, outcome.stream) == (Ending.COMPLETE, 200, False)
    assert (outcome.model_asked, outcome.model_sent, outcome.model_answered) == ("claude-x", "claude-x", "gpt-5-2026")
    assert (outcome.client, outcome.upstream, outcome.provider) == ("anthropic_messages", "openai_chat", "openai")
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.finish) == (11, 5, "end")


def test_the_record_is_in_the_last_answer() -> None:
    envoy = started()
    assert envoy.metadata["model_asked"] == "claude-x" and "output_tokens" not in envoy.metadata
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(COMPLETION), end=True)
    expected = {
        "client": "anthropic_messages",
        "upstream": "openai_chat",
        "provider": "openai",
        "model": "gpt-5-2026",
        "model_sent": "claude-x",
        "input_tokens": 11,
        "output_tokens": 5,
        "finish": "end",
        "error": "",
    }
    assert {name: envoy.metadata.get(name) for name in expected} == expected


def test_an_error_is_translated_with_its_status() -> None:
    envoy = started()
    envoy.answer(503, {"content-type": "text/html", "set-cookie": "a=b"})
    assert envoy.override == ProcessingMode.BUFFERED
    envoy.chunk(b"<html>", end=True)
    assert envoy.client[":status"] == "529"
    assert envoy.client["content-type"].startswith("application/json")
    assert "set-cookie" not in envoy.client
    assert envoy.got_json["type"] == "error"
    assert envoy.close().ending is Ending.FAILED
    assert envoy.metadata["error"]


def test_an_error_without_a_body_gets_one() -> None:
    envoy = started()
    envoy.answer(502, {"content-length": "0"}, end=True)
    assert envoy.got_json["type"] == "error"
    assert envoy.client["content-length"] == str(len(envoy.got))
    assert envoy.close().ending is Ending.FAILED


def test_a_stream_is_translated_piece_by_piece() -> None:
    envoy = started({**MESSAGES, "stream": True})
    answer = envoy.answer(200, SSE)
    assert answer is not None
    assert not answer.HasField("mode_override"), "it is the configured mode"
    assert envoy.client["content-type"].startswith("text/event-stream")
    assert "content-length" not in envoy.client
    one, two, *rest = chunks("hel", "lo")
    assert b"message_start" in envoy.chunk(one) and b"hel" in envoy.got
    assert b"lo" in envoy.chunk(two)
    assert envoy.chunk(b"data: {") == b"", "nothing yet: and not the upstream's own bytes"
    envoy.chunk(b'"choices":[]}\n\n')
    for data in rest:
        envoy.chunk(data)
    assert b"message_stop" in envoy.got
    assert envoy.metadata["output_tokens"] == 5, "told as soon as it is known: the client may not wait for the end"
    assert envoy.chunk(b"", end=True) == b""
    outcome = envoy.close()
    assert (outcome.ending, outcome.stream, outcome.finish) == (Ending.COMPLETE, True, "end")


@pytest.mark.parametrize("mode", [None, ProcessingMode.NONE, ProcessingMode.BUFFERED])
def test_a_stream_asks_for_its_mode_where_another_is_configured(mode: int | None) -> None:
    envoy = started({**MESSAGES, "stream": True}, mode=mode)
    envoy.answer(200, SSE)
    assert envoy.override == ProcessingMode.STREAMED


def test_a_piece_that_passes_unchanged_is_not_sent_back() -> None:
    envoy = Conversation()
    envoy.headers("/v1/chat/completions", {}, attributes=leaf(OPENAI))
    envoy.body({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    envoy.answer(200, SSE)
    for data in chunks("hi"):
        before = envoy.got
        assert envoy.chunk(data) == data
        assert envoy.got == before + data
    envoy.chunk(b"", end=True)
    assert envoy.close().usage.output_tokens == 5


@pytest.mark.parametrize("usage", ["", ", usage: asked"])
def test_what_a_stream_used_is_known_and_not_shown_to_a_client_that_did_not_ask(usage: str) -> None:
    envoy = Conversation()
    envoy.headers("/v1/chat/completions", {}, attributes=leaf(OPENAI[:-1] + usage + "}"))
    envoy.body({**CHAT, "stream": True})
    assert envoy.sent_json.get("stream_options") == (None if usage else {"include_usage": True})
    envoy.answer(200, SSE)
    wire = b"".join(chunks("hi"))
    got = envoy.chunk(wire[:-20]) + envoy.chunk(wire[-20:]) + envoy.chunk(b"", end=True)
    assert (b'"choices":[]' in got.replace(b" ", b"")) is bool(usage) and b"[DONE]" in got
    assert envoy.metadata["output_tokens"] == 5 and envoy.close().usage.output_tokens == 5


@pytest.mark.parametrize("attempt", [1, 0])
def test_only_in_a_cluster_an_answer_may_be_too_long_for_its_client(attempt: int) -> None:
    conversation = Conversation(Translator(shared(Limits(max_told_bytes=500))))
    conversation.headers(attributes={**leaf(OPENAI), "upstream.request_attempt_count": float(attempt)})
    conversation.body({"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    conversation.answer(200, {"content-type": "text/event-stream"})
    one = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"yes"}}]}\n\n'
    for _ in range(30):
        conversation.chunk(one)
    assert (b"longer than the 500 bytes" in conversation.got) == (conversation.immediate is not None) == (attempt == 1)


def test_a_stream_that_ends_too_early_ends_in_the_clients_error() -> None:
    envoy = started({**MESSAGES, "stream": True})
    envoy.answer(200, SSE)
    envoy.chunk(chunks("hel", done=False)[0])
    assert b"event: error" in envoy.chunk(b"", end=True)
    outcome = envoy.close()
    assert (outcome.ending, outcome.error) == (Ending.FAILED, "stream_truncated")
    assert envoy.metadata["error"] == "stream_truncated"


def test_a_stream_that_breaks_off_is_counted() -> None:
    envoy = started({**MESSAGES, "stream": True})
    envoy.answer(200, SSE)
    envoy.chunk(chunks("hel", done=False)[0])
    assert envoy.close().ending is Ending.CUT


def test_a_client_that_leaves_after_the_end_had_it_all() -> None:
    envoy = started({**MESSAGES, "stream": True})
    envoy.answer(200, SSE)
    for data in chunks("hi"):
        envoy.chunk(data)
    assert envoy.close().ending is Ending.COMPLETE


def test_a_stream_that_ends_in_trailers() -> None:
    envoy = started({**MESSAGES, "stream": True})
    envoy.answer(200, SSE)
    for data in chunks("hi"):
        envoy.chunk(data)
    assert b"message_stop" in envoy.got, "closed by its own end mark"
    envoy.trailers()
    assert envoy.immediate is None
    assert envoy.close().ending is Ending.COMPLETE


def test_trailers_before_the_end_break_the_stream_visibly() -> None:
    envoy = started({**MESSAGES, "stream": True})
    envoy.answer(200, SSE)
    envoy.chunk(chunks("hel", done=False)[0])
    envoy.trailers()
    assert envoy.immediate is not None, "Envoy resets the stream, or says this if nothing has gone out yet"
    assert envoy.immediate[0] == 502 and "prematurely" in envoy.immediate[2]["error"]["message"]
    assert envoy.close().ending is Ending.CUT


def test_trailers_in_place_of_a_whole_body() -> None:
    envoy = started()
    envoy.answer(200, JSON)
    envoy.trailers()
    assert envoy.immediate is not None and envoy.immediate[2]["type"] == "error"
    assert envoy.close().ending is Ending.FAILED


def test_the_client_went_away_before_the_answer() -> None:
    envoy = started()
    assert envoy.close().ending is Ending.CANCELLED
    assert Conversation().close().ending is Ending.CANCELLED


# ---- Envoy's own answers, in the listener placement


def test_no_upstream_could_be_reached() -> None:
    envoy = started()
    envoy.answer(503, {"content-type": "text/plain", "content-length": "19"}, details="no_healthy_upstream")
    assert envoy.client[":status"] == "529"
    assert envoy.got_json["error"]["type"] == "overloaded_error"
    assert envoy.metadata["error"] == "no_healthy_upstream"
    # Envoy does not ask again, but an older one may.
    assert envoy.chunk(b"no healthy upstream", end=True) == b"no healthy upstream"


def test_the_body_was_too_large_for_envoy() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes=leaf(OPENAI))
    envoy.answer(413, {"content-type": "text/plain"}, details="")
    assert envoy.got_json["error"]["type"] == "request_too_large"


# ---- attempts of one request (upstream filter)


def attempt(number: int, endpoint: str, raw: list[tuple[str, str]] | None, memory: Any) -> Conversation:
    envoy = Conversation()
    attributes = {"upstream.request_attempt_count": float(number), **leaf(endpoint=endpoint)}
    envoy.headers("/v1/messages?beta=true&key=secret", CLIENT, attributes=attributes, raw=raw, recalled=memory)
    envoy.body(MESSAGES)
    assert envoy.immediate is None, envoy.immediate
    return envoy


SPECIAL = "{provider: openai, auth: {header: {X-Special: first-secret, Authorization: Bearer first}}}"


def test_an_attempt_starts_from_what_the_client_sent() -> None:
    first = attempt(1, SPECIAL, None, None)
    assert first.upstream[":path"] == "/v1/chat/completions" and first.upstream["x-special"] == "first-secret"
    second = attempt(2, ANTHROPIC, first.request, first.left)
    assert second.upstream[":path"] == "/v1/messages?beta=true"
    assert second.upstream["anthropic-beta"] == "some-beta"
    assert second.upstream["user-agent"] == "sdk"
    assert second.upstream["x-api-key"] == "key-of-anthropic"
    assert second.upstream["content-length"] == str(len(second.sent))
    assert "first" not in str(second.request) and "key-of-the-client" not in str(second.request)
    assert second.sent_json == MESSAGES


def test_many_attempts() -> None:
    envoy = attempt(1, ANTHROPIC, None, None)
    alone = {text: attempt(1, text, None, None) for text in (OPENAI, ANTHROPIC, SPECIAL)}
    for number, endpoint in enumerate([OPENAI, SPECIAL, ANTHROPIC, ANTHROPIC, OPENAI], 2):
        envoy = attempt(number, endpoint, envoy.request, envoy.left)
        assert sorted(envoy.request) == sorted(alone[endpoint].request), "as if it were the first"
        assert envoy.sent == alone[endpoint].sent


def test_each_attempt_inflates_what_the_client_compressed() -> None:
    """Envoy keeps the headers as the attempt before left them, and the body as the client sent it."""
    body, raw, left = gzip.compress(msgspec.json.encode(MESSAGES), mtime=0), None, None
    for number, endpoint in enumerate((OPENAI, ANTHROPIC, OPENAI, ANTHROPIC), 1):
        envoy = Conversation()
        attributes = {"upstream.request_attempt_count": float(number), **leaf(endpoint=endpoint)}
        client = CLIENT | {"content-encoding": "gzip"}
        envoy.headers("/v1/messages", client, attributes=attributes, raw=raw, recalled=left)
        envoy.body(body)
        assert envoy.immediate is None and "content-encoding" not in envoy.upstream
        assert envoy.sent == attempt(1, endpoint, None, None).sent
        raw, left = envoy.request, envoy.left


def test_an_authority_of_one_provider_does_not_reach_the_next() -> None:
    own = "{provider: openai, auth: none, override: {endpoint: 'https://llm.example/v1/chat/completions'}}"
    first = attempt(1, own, None, None)
    assert first.upstream[":authority"] == "llm.example"
    second = attempt(2, ANTHROPIC, first.request, first.left)
    assert second.upstream[":authority"] == "gateway.example"
    # Where Envoy has set the next host by itself, that stays.
    rewritten = [(k, "envoys.choice" if k == ":authority" else v) for k, v in first.request]
    assert attempt(2, ANTHROPIC, rewritten, first.left).upstream[":authority"] == "envoys.choice"


def test_what_is_remembered_holds_no_credential() -> None:
    envoy = Conversation()
    client = CLIENT | {"authorization": "Bearer key-of-the-client", "x-special": "key-of-the-client", "cookie": "c=1"}
    attributes = {"upstream.request_attempt_count": 1.0, **leaf(endpoint=SPECIAL)}
    envoy.headers("/v1/messages?key=key-of-the-client&a=b", client, attributes=attributes)
    envoy.body(MESSAGES)
    text = envoy.left[MEMORY]
    assert "key-of-the-client" not in text and "first" not in text and "c=1" not in text
    memory = msgspec.json.decode(text, type=Memory)
    assert memory.path == "/v1/messages?a=b"
    assert {"x-special", "authorization"} <= set(memory.set)
    assert not {name for name, _ in memory.saved} & CREDENTIAL_HEADERS


def test_an_attempt_that_finds_no_note_has_the_clients_headers() -> None:
    envoy = attempt(2, OPENAI, None, None)
    assert envoy.upstream[":path"] == "/v1/chat/completions"


def test_the_first_attempt_recalls_nothing() -> None:
    forged = {MEMORY: '{"path":"/v1/chat/completions","set":["user-agent"],"saved":[]}'}
    envoy = attempt(1, ANTHROPIC, None, forged)
    assert envoy.upstream[":path"].startswith("/v1/messages") and envoy.upstream["user-agent"] == "sdk"


def test_a_listener_leaves_no_note() -> None:
    envoy = Conversation()
    envoy.headers("/v1/messages", CLIENT, attributes={"upstream.request_attempt_count": 0.0, **leaf(OPENAI)})
    envoy.body(MESSAGES)
    assert MEMORY not in envoy.left


@pytest.mark.rows("F2")
@pytest.mark.parametrize(
    ("path", "served"), [("/anthropic/v1/messages", True), ("/v1/messages", False), ("/v1/chat/completions", True)]
)
def test_an_api_is_served_only_behind_its_prefix(path: str, served: bool) -> None:
    envoy = Conversation()
    envoy.headers(path, attributes=leaf(f"{OPENAI[:-1]}, prefixes: {{anthropic_messages: /anthropic}}}}"))
    envoy.body({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
    if served:
        assert envoy.upstream[":path"] == "/v1/chat/completions"
        return
    assert envoy.immediate is not None
    status, _, error, details = envoy.immediate
    assert (status, details, error["type"]) == (404, "extproc_not_found", "error")


def test_an_answer_of_the_router_before_this_filter_passes() -> None:
    envoy = Conversation()
    envoy.answer(200, {"content-type": "application/json"}, details="extproc_models")
    assert envoy.chunk(b'{"object":"list"}', end=True) == b'{"object":"list"}'
    assert envoy.client["content-type"] == "application/json" and envoy.immediate is None
    assert envoy.close().ending is Ending.PASSED


@pytest.mark.rows("B10")
def test_a_thousand_routes_in_turn_see_nothing_of_each_other_and_leave_nothing_behind() -> None:
    """Distinct metadata, mixed providers, clients and sizes, more than the cache holds: three times over."""

    def ask(i: int) -> None:
        anthropic_client, anthropic_upstream = i % 2 == 0, i % 3 == 0
        provider, name = ("anthropic", "x-api-key") if anthropic_upstream else ("openai", "Authorization")
        auth = f"{{header: {{{name}: key-{i}-end}}, query: {{q{i}: v{i}}}}}"
        text = f"{{provider: {provider}, options: {{model: model-{i}}}, auth: {auth}}}"
        envoy = Conversation()
        envoy.headers("/v1/messages" if anthropic_client else "/v1/chat/completions", attributes=leaf(text))
        envoy.body({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": f"text-{i}-end"}]})
        assert envoy.upstream[name.lower()] == f"key-{i}-end"
        assert envoy.upstream[":path"].partition("?")[2] == f"q{i}=v{i}"
        assert envoy.sent_json["model"] == f"model-{i}" and f"text-{i}-end" in envoy.sent.decode()
        envoy.close()

    def held() -> int:
        gc.collect()
        return len(gc.get_objects())

    for i in range(1000):
        ask(i)
    before = held()
    for i in [*range(1000)] * 2:
        ask(i)
    assert held() - before < 500


def test_an_annotation_names_no_secret_unless_the_operator_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_API_KEY", "key-of-the-operator")
    text = "{provider: openai, auth: {header: {Authorization: 'Bearer ${TEAM_API_KEY}'}}}"
    annotated = "xds.route_metadata.filter_metadata['envoy-gateway']['resources'][0]['annotations']['extproc']"
    by_operator = "xds.route_metadata.filter_metadata['extproc']['route']"
    for name, listed, sent in ((annotated, "", False), (annotated, "TEAM_*", True), (by_operator, "", True)):
        envoy = Conversation(Translator(msgspec.structs.replace(shared(), permitted=permitted(listed))))
        envoy.headers("/v1/messages", CLIENT, attributes={name: text})
        envoy.body(MESSAGES)
        answer = f"{envoy.request} {envoy.immediate}"
        assert ("key-of-the-operator" in answer) is sent
        assert ("may not be named" in answer) is not sent


def test_a_stream_keeps_no_long_body_when_it_has_been_sent() -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" + "A" * 400_001}
    content = [{"type": "image", "source": image}, {"type": "text", "text": "?"}]
    talk = Conversation()
    talk.headers(attributes=leaf(OPENAI))
    talk.body({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]})
    parts = talk.sent_json["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts if "image_url" in part] == [
        f"data:image/png;base64,{image['data']}"
    ]
    assert talk.exchange.media is None and talk.exchange.kept < 100_000
