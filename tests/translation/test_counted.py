"""``count_tokens`` of one API on an upstream of another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Answer, Call, Translation

Json = dict[str, Any]
MESSAGES, GEMINI = "anthropic_messages", "gemini"
CLAUDES: Json = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "system": "be brief"}
GOOGLES: Json = {"generateContentRequest": {"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": "be brief"}}
COUNT = "/v1/messages/count_tokens"
GOOGLES_COUNT = "/v1beta/models/m:countTokens"
TEXT = {"role": "user", "parts": [{"text": "hi"}]}
COUNTED = {"contents": [TEXT], "systemInstruction": {"parts": [{"text": "be brief"}]}}


def to(client: str, body: Json, path: str, **route: Any) -> tuple[Translation, Call | Answer]:
    t = Translation(client, route={"auth": "none", **route}, now=0)
    return t, t.request(json.dumps(body).encode(), path=path)


def answered(t: Translation, body: Any, status: int = 200) -> tuple[int, Json]:
    t.response_head(status, [("content-type", "application/json")])
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    out = t.response_body(data[:5]) + t.response_body(data[5:], end_of_stream=True)
    return t.head.status, json.loads(out)


def test_claudes_client_on_gemini() -> None:
    t, call = to(MESSAGES, CLAUDES, COUNT, provider="gemini", upstream="gemini")
    assert isinstance(call, Call)
    assert (call.method, call.path) == ("POST", GOOGLES_COUNT)
    assert json.loads(call.body) == {"generateContentRequest": {"model": "models/m", **COUNTED}}
    assert answered(t, {"totalTokens": 31, "promptTokensDetails": []}) == (200, {"input_tokens": 31})


def test_claudes_client_on_vertex() -> None:
    conf = {"project_id": "p", "region": "r"}
    t, call = to(MESSAGES, CLAUDES, COUNT, provider="vertex-ai", upstream="gemini", provider_conf=conf)
    assert isinstance(call, Call)
    assert call.path == "/v1/projects/p/locations/r/publishers/google/models/m:countTokens"
    assert json.loads(call.body) == COUNTED
    assert answered(t, {"totalTokens": 31}) == (200, {"input_tokens": 31})


def test_googles_client_on_claude() -> None:
    t, call = to(GEMINI, GOOGLES, GOOGLES_COUNT, provider="anthropic", options={"model": "claude-sonnet-4-5"})
    assert isinstance(call, Call)
    assert call.path == COUNT
    assert json.loads(call.body) == {
        "model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "system": "be brief",
    }  # fmt: skip
    assert answered(t, {"input_tokens": 9}) == (200, {"totalTokens": 9})


@pytest.mark.parametrize("body", [{}, [], 3, {"input_tokens": "9"}, {"input_tokens": -1}, b"<html>", b"x" * 100_000])
def test_an_answer_without_a_number_is_an_error_in_the_clients_shape(body: Any) -> None:
    t, _ = to(GEMINI, GOOGLES, GOOGLES_COUNT, provider="anthropic")
    status, said = answered(t, body)
    assert (status, said["error"]["status"]) == (502, "INTERNAL")
    assert t.failed is not None


def test_an_error_is_the_clients_own() -> None:
    t, _ = to(MESSAGES, CLAUDES, COUNT, provider="gemini", upstream="gemini")
    error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    status, said = answered(t, error, 429)
    assert (status, said["error"]) == (429, {"type": "rate_limit_error", "message": "slow down"})


@pytest.mark.parametrize(
    ("client", "body", "path", "route"),
    [
        (GEMINI, GOOGLES, GOOGLES_COUNT, {"provider": "openai"}),
        (MESSAGES, CLAUDES, COUNT, {"provider": "openai"}),
        # An upstream somewhere else, of which nobody knows where it counts.
        (GEMINI, GOOGLES, GOOGLES_COUNT, {"provider": "anthropic", "override": {"endpoint": "https://e.x/elsewhere"}}),
    ],
)
def test_where_nobody_counts_it_is_an_estimate(client: str, body: Json, path: str, route: Json) -> None:
    _, answer = to(client, body, path, **route)
    assert isinstance(answer, Answer)
    assert answer.why == "estimated" and ("x-llm-translation", "input_tokens:estimated") in answer.headers
