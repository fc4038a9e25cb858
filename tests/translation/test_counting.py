"""Conversations about the number of tokens (Claude Code asks for it)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.telemetry.outcome import Ending

from ..exchange.conversation import ANTHROPIC, OPENAI, Conversation, leaf

PATH = "/v1/messages/count_tokens?beta=true"
NOT_COUNTING = "{provider: deepseek, auth: {header: {Authorization: Bearer key-of-deepseek}}}"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a" * 8}]}


def asked(route: str, body: Any = None, attempt: float = 1.0) -> Conversation:
    envoy = Conversation()
    envoy.headers(PATH, attributes={**leaf(route), "upstream.request_attempt_count": attempt})
    envoy.body(ASKED if body is None else body)
    return envoy


@pytest.mark.parametrize("attempt", [0.0, 1.0])
def test_an_upstream_of_another_api_is_answered_for(attempt: float) -> None:
    envoy = asked(NOT_COUNTING, attempt=attempt)
    assert envoy.immediate is not None
    status, headers, body, details = envoy.immediate
    assert (status, body, details) == (200, {"input_tokens": 7}, "extproc_estimated")
    assert headers["x-llm-translation"] == "input_tokens:estimated"
    assert "input_tokens" not in envoy.metadata, "nothing was used"
    assert (envoy.metadata["model_asked"], envoy.metadata["ending"]) == ("m", "answered")
    assert envoy.close().ending is Ending.ANSWERED


def test_an_upstream_of_the_same_api_is_asked() -> None:
    envoy = asked(f"{ANTHROPIC[:-1]}, options: {{model: claude-x, max_tokens: 5, temperature: 1}}}}")
    assert envoy.upstream[":path"] == "/v1/messages/count_tokens?beta=true"
    assert envoy.upstream["x-api-key"] == "key-of-anthropic"
    assert envoy.sent_json == {**ASKED, "model": "claude-x"}, "this API knows no max_tokens"
    envoy.answer(200, {"content-type": "application/json"})
    assert envoy.chunk(b'{"input_tokens":1234}') + envoy.chunk(b"", end=True) == b'{"input_tokens":1234}'
    assert envoy.close().ending is Ending.COMPLETE
    assert "input_tokens" not in envoy.metadata and envoy.metadata["error"] == ""


def test_an_endpoint_of_the_operators_own() -> None:
    route = "{provider: anthropic, auth: none, override: {endpoint: 'https://x.example%s'}}"
    assert asked(route % "/up/v1/messages?a=b").upstream[":path"].startswith("/up/v1/messages/count_tokens?")
    assert asked(route % "/anywhere").immediate is not None, "where it would be is not known"


@pytest.mark.parametrize("body", [b"{", b"[]", {"model": "m"}, {"model": "m", "messages": 3}])
def test_a_malformed_body_is_refused_in_anthropics_shape(body: Any) -> None:
    envoy = asked(OPENAI, body)
    assert envoy.immediate is not None
    status, _, error, _ = envoy.immediate
    assert status == 400 and error["type"] == "error" and error["error"]["type"] == "invalid_request_error"


def test_the_upstreams_own_error_passes() -> None:
    envoy = asked(ANTHROPIC)
    envoy.answer(429, {"content-type": "application/json"})
    error = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'
    assert envoy.chunk(error, end=True) == error and envoy.client[":status"] == "429"
    assert envoy.close().ending is Ending.FAILED


RESPONSES = "/v1/responses/input_tokens"


def asked_responses(route: str, body: Any) -> Conversation:
    envoy = Conversation()
    envoy.headers(RESPONSES, attributes={**leaf(route), "upstream.request_attempt_count": 1.0})
    envoy.body(body)
    return envoy


@pytest.mark.parametrize("members", [{"model": "m"}, {}])
def test_responses_clients_have_such_a_question_too(members: dict[str, Any]) -> None:
    envoy = asked_responses("{provider: deepseek, auth: none}", {**members, "input": "a" * 8, "instructions": "b" * 8})
    assert envoy.immediate is not None
    status, headers, body, _ = envoy.immediate
    assert (status, body) == (200, {"object": "response.input_tokens", "input_tokens": 11})
    assert headers["x-llm-translation"] == "input_tokens:estimated"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_upstream_that_turns_out_not_to_count_is_answered_for(status: int) -> None:
    """Where the provider has another API that counts, and this server of that kind has not."""
    envoy = asked(OPENAI)
    assert envoy.upstream[":path"].startswith("/v1/responses/input_tokens")
    assert envoy.sent_json["input"] and "store" not in envoy.sent_json
    envoy.answer(status, {"content-type": "text/html", "content-encoding": "br"})
    assert json.loads(envoy.chunk(b"<html>", end=True)) == {"input_tokens": 7}
    assert envoy.client[":status"] == "200" and "content-encoding" not in envoy.client
    assert envoy.client["x-llm-translation"] == "input_tokens:estimated"
    assert "input_tokens" not in envoy.metadata, "nothing was used"


def test_a_model_that_the_route_alone_names_is_enough() -> None:
    envoy = asked(f"{OPENAI[:-1]}, options: {{model: gpt-x}}}}", {"messages": ASKED["messages"]})
    assert envoy.upstream[":path"] == "/v1/responses/input_tokens" and envoy.sent_json["model"] == "gpt-x"


@pytest.mark.parametrize("route", [OPENAI, NOT_COUNTING])
def test_without_any_model_nobody_is_asked(route: str) -> None:
    envoy = asked(route, {"messages": ASKED["messages"]})
    assert envoy.immediate is not None
    status, _, error, _ = envoy.immediate
    assert (status, error["error"]["message"]) == (400, "model: is missing")


def test_what_else_goes_wrong_there_is_an_error() -> None:
    envoy = asked(OPENAI)
    envoy.answer(401, {"content-type": "application/json"})
    said = json.loads(envoy.chunk(b'{"error": {"message": "no key", "type": "invalid_request_error"}}', end=True))
    assert (envoy.client[":status"], said["error"]["message"]) == ("401", "no key")


def test_their_own_upstream_is_asked() -> None:
    envoy = asked_responses(OPENAI, {"model": "m", "input": "a"})
    assert (envoy.upstream[":path"], envoy.sent_json) == (RESPONSES, {"model": "m", "input": "a"})
