"""``count_tokens`` of one API on an upstream of another."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc import Answer, Call, Refused, Translation

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


def test_an_upstream_without_that_part_of_its_api_is_answered_for() -> None:
    t, _ = to(MESSAGES, CLAUDES, COUNT, provider="gemini", upstream="gemini")
    status, said = answered(t, {"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}, 404)
    assert status == 200 and said["input_tokens"] > 0
    assert ("x-llm-translation", "input_tokens:estimated") in t.head.headers


def test_an_error_is_the_clients_own() -> None:
    t, _ = to(MESSAGES, CLAUDES, COUNT, provider="gemini", upstream="gemini")
    error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    status, said = answered(t, error, 429)
    assert (status, said["error"]) == (429, {"type": "rate_limit_error", "message": "slow down"})


@pytest.mark.parametrize(
    ("client", "body", "path", "route"),
    [
        (GEMINI, GOOGLES, GOOGLES_COUNT, {"provider": "deepseek"}),
        (MESSAGES, CLAUDES, COUNT, {"provider": "openai-compatible"}),
        # Where its API that counts would be, is not said either.
        (MESSAGES, CLAUDES, COUNT, {"provider": "openai", "override": {"endpoint": "https://e.x/v1/chat/completions"}}),
        # An upstream somewhere else, of which nobody knows where it counts.
        (GEMINI, GOOGLES, GOOGLES_COUNT, {"provider": "anthropic", "override": {"endpoint": "https://e.x/elsewhere"}}),
    ],
)
def test_where_nobody_counts_it_is_an_estimate(client: str, body: Json, path: str, route: Json) -> None:
    _, answer = to(client, body, path, **route)
    assert isinstance(answer, Answer)
    assert answer.why == "estimated" and ("x-llm-translation", "input_tokens:estimated") in answer.headers


# ---- the same question in the clouds' and in OpenAI's words

ASKED = {"messages": [{"role": "user", "content": "hi"}], "system": "be brief"}
TURN = [{"role": "user", "content": "hi"}]
BEDROCK: Json = {"provider": "bedrock", "provider_conf": {"region": "us-east-1"}}
VERTEX: Json = {"provider": "vertex-anthropic", "provider_conf": {"project_id": "p", "region": "r"}}
IN_VERTEX = "/v1/projects/p/locations/r/publishers/anthropic/models"


def invoked(body: Json) -> Json:
    return {"input": {"invokeModel": {"body": base64.b64encode(json.dumps(body).encode()).decode()}}}


def opened(body: Json) -> Json:
    found: Json = json.loads(base64.b64decode(body["input"]["invokeModel"]["body"]))
    return found


def test_claudes_client_on_converse() -> None:
    t, call = to(MESSAGES, {**CLAUDES, "model": "us.anthropic.claude-haiku-4-5-20251001-v1:0"}, COUNT, **BEDROCK)
    assert isinstance(call, Call)
    assert call.path == "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens", "its geography is not known"
    converse = {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "be brief"}]}
    assert json.loads(call.body) == {"input": {"converse": converse}}
    assert answered(t, {"inputTokens": 12}) == (200, {"input_tokens": 12})


def test_claudes_client_on_invoke_model() -> None:
    t, call = to(MESSAGES, {**CLAUDES, "model": "anthropic.claude-haiku-4-5"}, COUNT, provider="bedrock-anthropic")
    assert isinstance(call, Call) and call.path == "/model/anthropic.claude-haiku-4-5/count-tokens"
    assert opened(json.loads(call.body)) == {
        "anthropic_version": "bedrock-2023-05-31", "messages": TURN, "system": "be brief", "max_tokens": 1,
    }  # fmt: skip
    assert answered(t, {"inputTokens": 12}) == (200, {"input_tokens": 12})


def test_claudes_client_on_raw_predict() -> None:
    t, call = to(MESSAGES, {**CLAUDES, "model": "claude-haiku-4-5@latest"}, COUNT, **VERTEX)
    assert isinstance(call, Call) and call.path == f"{IN_VERTEX}/count-tokens:rawPredict"
    assert json.loads(call.body) == {
        "anthropic_version": "vertex-2023-10-16", "model": "claude-haiku-4-5", "messages": TURN, "system": "be brief",
    }  # fmt: skip
    assert "anthropic-version" not in dict(call.headers)
    assert answered(t, {"input_tokens": 12}) == (200, {"input_tokens": 12})


def test_claudes_client_on_responses() -> None:
    t, call = to(MESSAGES, CLAUDES, COUNT, provider="openai", upstream="openai_responses")
    assert isinstance(call, Call) and call.path == "/v1/responses/input_tokens"
    sent = json.loads(call.body)
    assert (sent["model"], sent["instructions"]) == ("m", "be brief") and "store" not in sent
    assert sent["input"] == [{"type": "message", "role": "user", "content": "hi"}] or sent["input"][0]["role"] == "user"
    assert answered(t, {"object": "response.input_tokens", "input_tokens": 12}) == (200, {"input_tokens": 12})


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ({"provider": "openai"}, "/v1/responses/input_tokens"),
        ({"provider": "openai", "upstream": "openai_chat"}, "/v1/responses/input_tokens"),
        ({"provider": "azure-openai"}, "/openai/v1/responses/input_tokens"),
        ({"provider": "azure-openai", "provider_conf": {"api_version": "2025-04-01-preview"}},
         "/openai/responses/input_tokens?api-version=2025-04-01-preview"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("client", "body", "count"), [(MESSAGES, CLAUDES, COUNT), (GEMINI, GOOGLES, GOOGLES_COUNT)])
def test_a_provider_that_counts_in_another_api_of_its_is_asked_there(
    client: str, body: Json, count: str, route: Json, path: str
) -> None:
    t, call = to(client, body, count, **route)
    assert isinstance(call, Call) and call.full_path() == path
    assert json.loads(call.body)["instructions"] == "be brief"
    status, told = answered(t, {"object": "response.input_tokens", "input_tokens": 12})
    assert (status, [*told.values()]) == (200, [12])


def test_vertex_counts_in_googles_words_what_its_openai_endpoint_is_to_answer() -> None:
    t, call = to(MESSAGES, {**CLAUDES, "model": "google/gemini-2.5-flash"}, COUNT, provider="vertex-ai",
                 provider_conf={"project_id": "p", "region": "r"})  # fmt: skip
    assert isinstance(call, Call)
    assert call.path == "/v1/projects/p/locations/r/publishers/google/models/gemini-2.5-flash:countTokens"
    assert answered(t, {"totalTokens": 31}) == (200, {"input_tokens": 31})


def test_responses_client_on_claude() -> None:
    t, call = to("openai_responses", {"model": "m", "input": "hi"}, "/v1/responses/input_tokens", provider="anthropic")
    assert isinstance(call, Call) and call.path == COUNT
    assert json.loads(call.body)["messages"][0]["role"] == "user"
    assert answered(t, {"input_tokens": 12}) == (200, {"object": "response.input_tokens", "input_tokens": 12})


@pytest.mark.parametrize(
    ("client", "path", "body", "told"),
    [
        ("anthropic_bedrock", "/model/us.anthropic.claude-haiku-4-5/count-tokens",
         invoked({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1, **ASKED}), {"inputTokens": 12}),
        ("anthropic_vertex", f"{IN_VERTEX}/count-tokens:rawPredict",
         {"anthropic_version": "vertex-2023-10-16", "model": "m", **ASKED}, {"input_tokens": 12}),
    ],
)  # fmt: skip
def test_clouds_clients_are_told_by_anybody(client: str, path: str, body: Json, told: Json) -> None:
    t, call = to(client, body, path, provider="anthropic", options={"model": "claude-haiku-4-5"})
    assert isinstance(call, Call) and call.path == COUNT
    assert json.loads(call.body) == {
        "model": "claude-haiku-4-5", "messages": TURN, "system": "be brief"}  # fmt: skip
    assert answered(t, {"input_tokens": 12}) == (200, told)
    _, estimated = to(client, body, path, provider="deepseek")
    assert isinstance(estimated, Answer) and estimated.why == "estimated"
    assert dict(estimated.headers)["x-llm-translation"] == "input_tokens:estimated"
    assert list(json.loads(estimated.body)) == list(told)


def test_converses_clients_are_told_by_anybody() -> None:
    converse = {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "be brief"}]}
    path, body = "/model/us.amazon.nova-pro-v1/count-tokens", {"input": {"converse": converse}}
    t, call = to("anthropic_bedrock", body, path, provider="anthropic", options={"model": "claude-haiku-4-5"})
    assert isinstance(call, Call) and call.path == COUNT
    sent = json.loads(call.body)
    assert sent["model"] == "claude-haiku-4-5" and sent["messages"][0]["role"] == "user" and "be brief" in str(sent)
    assert answered(t, {"input_tokens": 12}) == (200, {"inputTokens": 12})
    _, estimated = to("anthropic_bedrock", body, path, provider="deepseek")
    assert isinstance(estimated, Answer) and json.loads(estimated.body)["inputTokens"] > 1
    region = {"provider_conf": {"region": "r"}}
    _, call = to("anthropic_bedrock", body, path, provider="bedrock", **region)
    assert isinstance(call, Call) and json.loads(call.body) == body, "Bedrock itself"


@pytest.mark.parametrize(
    ("client", "path", "route", "sent"),
    [
        ("anthropic_bedrock", "/model/eu.anthropic.claude-haiku-4-5/count-tokens", {"provider": "bedrock-anthropic"},
         "/model/anthropic.claude-haiku-4-5/count-tokens"),
        ("anthropic_vertex", "/v1/projects/x/locations/y/publishers/anthropic/models/count-tokens:rawPredict", VERTEX,
         f"{IN_VERTEX}/count-tokens:rawPredict"),
    ],
)  # fmt: skip
def test_their_own_upstream_gets_their_own_body(client: str, path: str, route: Json, sent: str) -> None:
    body = {"model": "m", "anything": [1.0]}
    t, call = to(client, body, path, **route)
    assert isinstance(call, Call) and t.passthrough
    assert (call.path, json.loads(call.body)) == (sent, body)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "input"), ({"input": {}}, "input.invokeModel"), ({"input": {"converse": {}}}, "input.converse"),
        ({"input": {"invokeModel": {"body": "?"}}}, "input.invokeModel.body"),
        ({"input": {"invokeModel": {"body": "W10="}}}, "input.invokeModel.body"),
    ],
)  # fmt: skip
def test_what_bedrocks_client_says_wrong(body: Json, path: str) -> None:
    with pytest.raises(Refused) as refused:
        to("anthropic_bedrock", body, "/model/m/count-tokens", provider="anthropic")
    assert refused.value.status == 400 and path in json.loads(refused.value.body)["message"]


def test_where_the_path_is_the_operators_own_it_is_estimated() -> None:
    for provider, end in (("bedrock-anthropic", "/x"), ("vertex-anthropic", "/models/claude-x:rawPredict")):
        route = {"provider": provider, "override": {"endpoint": f"https://h{end}"}}
        _, answer = to(MESSAGES, CLAUDES, COUNT, **route)
        # InvokeModel's path is made of the verb alone, and with it the place of the count.
        assert isinstance(answer, Answer) or answer.path == "/x/count-tokens"
