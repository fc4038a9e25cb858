"""OpenAI's own embeddings pass through and are counted (B7, B40, E4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation, dialects, providers
from extproc.dialects.base import ClientCall, Env, Upstream
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Request

from .helpers import ANSWER, DIALECT, JSON, ROUTE, parsed


def test_e4_the_route_says_the_model_and_the_form_and_the_answer_is_counted() -> None:
    t = Translation(route=ROUTE)
    call = t.request(b'{"input": "The food was delicious",  "user": "u"}', path="/embeddings")
    assert (t.client, t.upstream, t.passthrough) == ("openai_embeddings", "openai_embeddings", True)
    assert isinstance(call, Call)
    assert (call.path, call.host) == ("/v1/embeddings", "api.openai.com")
    assert json.loads(call.body) == {
        "input": "The food was delicious", "user": "u", "model": "text-embedding-3-small", "encoding_format": "float",
    }  # fmt: skip
    body = json.dumps(ANSWER).encode()
    t.response_head(200, [*JSON, ("x-ratelimit-remaining-requests", "9")])
    assert t.response_body(body[:40]) + t.response_body(body[40:], end_of_stream=True) == body
    assert ("x-ratelimit-remaining-requests", "9") in t.head.headers
    assert (t.usage.input_tokens, t.usage.output_tokens, t.model) == (8, None, "text-embedding-3-small")
    assert t.ended is not None and t.failed is None and list(t.losses) == []


def test_a_request_that_the_route_does_not_touch_passes_byte_for_byte() -> None:
    body = b'{ "model":"m", "input": ["a","b"] }'
    assert Translation(route={"provider": "openai-compatible"}).request(body, path="/v1/embeddings").body == body


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/embeddings", {}, "openai_embeddings"),
        ("/openai/deployments/d/embeddings?api-version=2024-02-01", {}, "openai_embeddings"),
        ("/anything", {"model": "m", "input": "text"}, "openai_embeddings"),
        ("/anything", {"input": [1, 2], "encoding_format": "base64"}, "openai_embeddings"),
        ("/anything", {"input": "text", "messages": []}, "openai_chat"),
        ("/anything", {"input": "text", "instructions": "x"}, "openai_responses"),
        ("/anything", {"inputs": "text"}, None),
    ],
)
@pytest.mark.rows("B7", "B33", "B40")
def test_b7_detection(path: str, body: dict[str, Any], name: str | None) -> None:
    assert dialects.detect(path, json.dumps(body).encode()) == name


@pytest.mark.parametrize(
    ("route", "client", "message"),
    [
        ({"provider": "anthropic"}, "/v1/embeddings",
         "openai_embeddings requests cannot be translated to anthropic_messages (provider anthropic speaks "
         "anthropic_messages, openai_chat, anthropic_endpoints)"),
        ({"provider": "deepseek", "upstream": "openai-chat"}, "/v1/embeddings",
         "openai_embeddings requests cannot be translated to openai_chat (provider deepseek speaks openai_chat)"),
        ({"provider": "bedrock", "provider_conf": {"region": "us-east-1"}}, "/v1/embeddings",
         "openai_embeddings requests cannot be translated to bedrock_converse (provider bedrock speaks "
         "bedrock_converse, anthropic_bedrock, openai_chat, titan_embeddings, nova_embeddings, cohere_bedrock; which "
         "of them, the model's name or the route's upstream must say)"),
    ],
)  # fmt: skip
@pytest.mark.rows("B3", "F5")
def test_b3_other_apis_are_refused_by_name(route: dict[str, Any], client: str, message: str) -> None:
    t = Translation(route={**route, "auth": "none"})
    with pytest.raises(Refused) as caught:
        t.request(b'{"model": "m", "input": "x", "messages": [{"role": "user", "content": "x"}]}', path=client)
    assert caught.value.status == 400
    error = json.loads(caught.value.body)["error"]
    assert (error["message"], error["type"]) == (message, "invalid_request_error")


def test_errors_pass_in_openais_shape_and_are_made_so_where_they_are_not() -> None:
    t = Translation(route=ROUTE)
    t.request(b'{"input": "x"}', path="/v1/embeddings")
    t.response_head(429, [("content-type", "text/html"), ("retry-after", "3")])
    body = json.loads(t.response_body(b"<html>slow down</html>", end_of_stream=True))
    assert body["error"]["type"] == "rate_limit_error" and body["error"]["code"] == "upstream_error"
    assert (t.head.status, dict(t.head.headers)["retry-after"]) == (429, "3")

    t = Translation(route=ROUTE)
    t.request(b'{"input": "x"}', path="/v1/embeddings")
    t.response_head(400, JSON)
    own = b'{"error": {"message": "too long", "type": "invalid_request_error", "param": null, "code": null}}'
    assert t.response_body(own, end_of_stream=True) == own
    assert t.failed is not None and t.failed.message == "too long"
    assert isinstance(parsed(b'[{"error": {"code": 400, "message": "no"}}]', 400)[0], ResponseFailed)


def test_it_holds_no_conversation() -> None:
    silent = {name for name, dialect in dialects.REGISTRY.items() if not dialect.converses}
    assert silent == {*providers.EMBEDDINGS, *providers.REST}
    with pytest.raises(Unsupported):
        DIALECT.parse_request(ClientCall("POST", "/v1/embeddings", [], b"{}"), LossReport())
    with pytest.raises(Unsupported):
        request = Request(dialect="openai_chat", model="m", messages=[])
        DIALECT.emit_request(request, Upstream("openai", "/v1/embeddings"), LossReport())


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
def test_an_upstream_for_conversations_says_nothing_of_embeddings(upstream: str) -> None:
    t = Translation(route={"provider": "openai", "auth": "none", "upstream": upstream})
    assert isinstance(t.request(b'{"model": "m", "input": "x"}', path="/v1/embeddings"), Call)
    assert (t.upstream, t.passthrough) == ("openai_embeddings", True)


@pytest.mark.rows("B40")
def test_a_denied_request_is_an_error_since_no_vector_says_no() -> None:
    request = Request(dialect=DIALECT.name, model="m", messages=[])
    head, body = DIALECT.deny(request, "not here", Env())
    assert (head.status, json.loads(body)["error"]["message"]) == (400, "not here")
