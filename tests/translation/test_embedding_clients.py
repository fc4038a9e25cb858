"""Google's and Cohere's clients of embeddings on upstreams of vectors of other APIs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation

Json = Any
ONE, MANY = "/v1beta/models/m:embedContent", "/v1beta/models/m:batchEmbedContents"
COHERE = "/v2/embed"
OPENAI: Json = {"provider": "openai", "auth": "none", "losses": "report"}
BEDROCK: Json = {
    "provider": "bedrock", "provider_conf": {"region": "r"}, "auth": "none",
    "options": {"model": "amazon.titan-embed-text-v2:0"},
}  # fmt: skip
TO_COHERE: Json = {"provider": "cohere", "auth": "none", "upstream": "cohere_embeddings"}


def text(words: str) -> Json:
    return {"parts": [{"text": words}]}


def asked(path: str, body: Json, route: Json = OPENAI) -> tuple[Translation, Json]:
    t = Translation(route=route, now=0)
    made = t.request(json.dumps(body).encode(), path=path)
    assert isinstance(made, Call) and not t.passthrough
    return t, json.loads(made.body)


def answered(t: Translation, body: Json) -> Json:
    t.response_head(200, [("content-type", "application/json")])
    return json.loads(t.response_body(json.dumps(body).encode(), end_of_stream=True))


def vectors(*numbers: float) -> Json:
    data = [{"object": "embedding", "index": n, "embedding": [number]} for n, number in enumerate(numbers)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}


@pytest.mark.rows("B5")
def test_googles_client_gets_one_vector_or_many() -> None:
    t, sent = asked(ONE, {"content": text("a"), "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8})
    assert sent == {"model": "m", "input": ["a"], "encoding_format": "float", "dimensions": 8}
    assert [str(loss) for loss in t.losses] == ["taskType:dropped"]
    assert answered(t, vectors(0.5)) == {
        "embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
    }  # fmt: skip
    each = {"model": "models/m", "title": "T", "taskType": "RETRIEVAL_DOCUMENT"}
    t, sent = asked(MANY, {"requests": [{**each, "content": text("a")}, {**each, "content": text("b")}]})
    assert sent["input"] == ["a", "b"]
    assert answered(t, vectors(1, 2))["embeddings"] == [{"values": [1]}, {"values": [2]}]


@pytest.mark.rows("B5")
def test_what_vectors_are_for_is_said_to_an_upstream_that_knows_it() -> None:
    config = {"taskType": "CLUSTERING", "outputDimensionality": 256, "autoTruncate": False}
    t, sent = asked(ONE, {"content": text("a"), "embedContentConfig": config}, TO_COHERE)
    assert sent == {
        "model": "m", "texts": ["a"], "input_type": "clustering", "embedding_types": ["float"],
        "output_dimension": 256, "truncate": "NONE",
    }  # fmt: skip
    answer = {"embeddings": {"float": [[0.25]]}, "meta": {"billed_units": {"input_tokens": 3}}}
    assert answered(t, answer)["embedding"] == {"values": [0.25]} and t.usage.input_tokens == 3


@pytest.mark.rows("B5")
@pytest.mark.parametrize("types", [None, ["float"], ["base64"]])
def test_coheres_client_gets_vectors_in_its_form(types: Json) -> None:
    said = {} if types is None else {"embedding_types": types}
    t, sent = asked(
        COHERE, {"model": "m", "texts": ["a", "b"], "input_type": "search_query", "truncate": "END", **said}
    )
    assert sent == {"model": "m", "input": ["a", "b"], "encoding_format": "float"}
    assert {str(loss) for loss in t.losses} == {"input_type:dropped", "truncate:dropped"}
    told = answered(t, vectors(0.5, 1))
    assert told["meta"]["billed_units"] == {"input_tokens": 7} and told["response_type"] == "embeddings_by_type"
    packed = {"base64": ["AAAAPw==", "AACAPw=="]}
    assert told["embeddings"] == (packed if types == ["base64"] else {"float": [[0.5], [1]]})


def test_a_route_says_model_and_size_for_them() -> None:
    body = {"inputs": [{"content": [{"type": "text", "text": "a"}]}], "input_type": "search_document"}
    route = {**BEDROCK, "options": {**BEDROCK["options"], "dimensions": 256}}
    t, sent = asked(COHERE, {"model": "m", **body}, route)
    assert sent["inputText"] == "a" and sent["dimensions"] == 256
    answer = answered(t, {"embedding": [1], "inputTextTokenCount": 2})
    assert answer["embeddings"] == {"float": [[1]]}
    _, sent = asked(ONE, {"content": text("a")}, {**OPENAI, "options": {"dimensions": 64}})
    assert sent["dimensions"] == 64


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (ONE, {}, "content: is missing"),
        (ONE, {"content": {"parts": []}}, "content.parts: expected an array of parts"),
        (ONE, {"content": {"parts": [{"inlineData": {}}]}}, "content.parts[0]: this upstream embeds texts alone"),
        (MANY, {"requests": []}, "requests: is empty"),
        (MANY, {"requests": [{"content": text("a")}, {"content": text("b"), "title": "t"}]}, "the same settings"),
        (COHERE, {"model": "m", "texts": ["a"]}, "input_type: is missing"),
        (COHERE, {"model": "m", "texts": ["a"], "input_type": "x"}, "input_type: expected"),
        (COHERE, {"model": "m", "texts": "a", "input_type": "search_query"}, "texts: expected an array of strings"),
        (COHERE, {"model": "m", "input_type": "search_query"}, "texts: is missing"),
        (COHERE, {"model": "m", "images": ["x"], "input_type": "search_query"}, "images: this upstream embeds texts"),
        (COHERE, {"model": "m", "inputs": [{}], "input_type": "search_query"}, "inputs[0].content: this upstream"),
        (COHERE, {"model": "m", "texts": ["a"], "input_type": "search_query", "embedding_types": ["int8"]},
         "embedding_types[0]: this upstream gives numbers alone"),
        (COHERE, {"model": "m", "texts": ["a"], "input_type": "search_query", "embedding_types": []},
         "embedding_types: this upstream gives vectors in one form"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_the_clients_shape(path: str, body: Json, says: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(path, body)
    told = json.loads(refused.value.body)
    assert refused.value.status == 400
    assert says in (told["message"] if path == COHERE else told["error"]["message"])


def test_parts_of_one_content_are_one_text() -> None:
    t, sent = asked(ONE, {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "NEW", "x": 1})
    assert sent["input"] == ["a\nb"]
    assert {str(loss) for loss in t.losses} == {"content.parts:rewritten", "taskType:dropped", "x:dropped"}


def test_an_upstreams_error_comes_in_the_clients_shape() -> None:
    for path, body in (
        (ONE, {"content": text("a")}),
        (COHERE, {"model": "m", "texts": ["a"], "input_type": "search_query"}),
    ):
        t, _ = asked(path, body)
        t.response_head(429, [("content-type", "application/json")])
        told = json.loads(t.response_body(b'{"error": {"message": "slow down"}}', end_of_stream=True))
        assert (told["message"] if path == COHERE else told["error"]["message"]) == "slow down" and t.head.status == 429
