"""Models that policies ask. What each provider's model is asked, and answers, stands in
``tests/policy/test_request_rewrite.py``."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from extproc import Translation
from extproc.effects import Effect, HttpAnswer, HttpCall, Result
from extproc.policy.base import ModelAnswer, Unavailable
from extproc.route import Route, compile_route
from extproc.route.served import ServedRoute
from extproc.settings import Limits
from extproc.translation.asking import ModelAsker

JSON = (("content-type", "application/json"),)


def begin(client: str, route: Route) -> Translation:
    return Translation(client, route=route, now=1.0, request_id="id")


def asks(route: dict[str, Any]) -> Generator[Effect, Result, ModelAnswer]:
    served = ServedRoute(compile_route([{"auth": "none", **route}]), "http://model.test")
    return ModelAsker(begin, Limits()).answer(served, "be brief", "hi", 2.0)


def outcome(steps: Generator[Effect, Result, ModelAnswer], result: Result) -> ModelAnswer:
    with pytest.raises(StopIteration) as ended:
        steps.send(result)
    said: ModelAnswer = ended.value.value
    return said


def test_what_is_asked_and_answered() -> None:
    steps = asks({"provider": "anthropic", "options": {"model": "claude-haiku-4-5"}})
    call = next(steps)
    assert isinstance(call, HttpCall) and (call.url, call.seconds) == ("http://model.test/v1/messages", 2.0)
    body = msgspec.json.decode(call.body)
    assert body["model"] == "claude-haiku-4-5" and body["max_tokens"] > 0 and "stream" not in body
    assert "be brief" in str(body["system"])
    answer = {
        "id": "m", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 4, "output_tokens": 2},
    }  # fmt: skip
    said = outcome(steps, HttpAnswer(200, JSON, msgspec.json.encode(answer)))
    assert (said.text, said.model) == ("yes", "claude-haiku-4-5-20251001")
    assert (said.usage.input_tokens, said.usage.output_tokens) == (4, 2)


def embeds(route: dict[str, Any]) -> Generator[Effect, Result, list[float]]:
    served = ServedRoute(compile_route([{"auth": "none", **route}]), "http://model.test")
    return ModelAsker(begin, Limits()).vector(served, "hi", 2.0)


def vector(steps: Generator[Effect, Result, list[float]], result: Any) -> list[float]:
    with pytest.raises(StopIteration) as ended:
        steps.send(HttpAnswer(200, JSON, msgspec.json.encode(result)))
    found: list[float] = ended.value.value
    return found


def test_what_cannot_be_asked() -> None:
    with pytest.raises(Unavailable, match="cannot be asked"):
        next(embeds({"provider": "anthropic", "options": {"model": "m"}}))


def test_a_vector_of_openais() -> None:
    steps = embeds({"provider": "openai", "options": {"model": "text-embedding-3-small", "dimensions": 2}})
    call = next(steps)
    assert isinstance(call, HttpCall) and call.url == "http://model.test/v1/embeddings"
    assert msgspec.json.decode(call.body) == {"model": "text-embedding-3-small", "input": "hi", "dimensions": 2}
    answer = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}], "model": "m"}
    assert vector(steps, answer) == [0.5, -1.0]


def test_a_vector_of_another_api_is_that_of_a_question() -> None:
    """What is kept in a store was embedded as a document: some models make another vector of a question."""
    where = {"provider_conf": {"region": "us-east-1"}, "options": {"model": "cohere.embed-multilingual-v3"}}
    steps = embeds({"provider": "bedrock", **where})
    call = next(steps)
    assert isinstance(call, HttpCall) and msgspec.json.decode(call.body)["input_type"] == "search_query"
    answer = {"embeddings": {"float": [[0.25, 1]]}, "id": "i", "response_type": "embeddings_by_type", "texts": ["hi"]}
    assert vector(steps, answer) == [0.25, 1.0]


VECTOR = [0.25, 1.0]
US: dict[str, Any] = {"provider_conf": {"region": "us-east-1"}}
EMBEDDERS: list[tuple[dict[str, Any], str, Any]] = [
    (
        {"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "r"},
         "options": {"model": "text-embedding-005"}},
        "/v1/projects/p/locations/r/publishers/google/models/text-embedding-005:predict",
        {"predictions": [{"embeddings": {"values": VECTOR, "statistics": {"truncated": False, "token_count": 1}}}]},
    ),
    (
        {"provider": "gemini", "upstream": "gemini_embeddings", "options": {"model": "gemini-embedding-001"}},
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        {"embeddings": [{"values": VECTOR}]},
    ),
    (
        {"provider": "bedrock", **US, "options": {"model": "amazon.titan-embed-text-v2:0"}},
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        {"embedding": VECTOR, "inputTextTokenCount": 1},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("route", "path", "answer"), EMBEDDERS, ids=lambda each: str(each)[:20])
def test_a_vector_of_each_maker(route: dict[str, Any], path: str, answer: Any) -> None:
    steps = embeds(route)
    call = next(steps)
    assert isinstance(call, HttpCall) and call.url == f"http://model.test{path}" and b"hi" in call.body
    assert vector(steps, answer) == VECTOR


@pytest.mark.parametrize("answer", [{}, {"data": []}, {"data": [{"index": 0, "embedding": ["x"]}]}, []])
def test_what_is_no_vector(answer: Any) -> None:
    steps = embeds({"provider": "openai", "options": {"model": "m"}})
    next(steps)
    with pytest.raises(Unavailable):
        steps.send(HttpAnswer(200, JSON, msgspec.json.encode(answer)))


def test_an_error_within_a_200_is_no_answer() -> None:
    steps = asks({"provider": "openai", "options": {"model": "m"}})
    next(steps)
    with pytest.raises(Unavailable):
        steps.send(HttpAnswer(200, JSON, b'{"error": {"message": "overloaded", "code": 529}}'))
