"""Scripted providers of embeddings, each in the shape that its reference documents. A request of another shape is
refused, so that a test cannot pass with one."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from extproc.demo.provider import Received, ScriptedAnswer, json_answer

from .as_bedrock import failure

Json = dict[str, Any]


def vector(text: str, size: int = 4) -> list[float]:
    """A vector of *text*, the same each time; the numbers are exact in float32."""
    seed = zlib.crc32(text.encode())
    return [((seed >> (i % 24)) % 256 - 128) / 128 for i in range(size)]


def answer(request: Received) -> ScriptedAnswer:
    """The answer to a *request* of any of them, by its path."""
    path, body = request.path.partition("?")[0], request.json()
    try:
        if path.endswith("/v1/embeddings"):
            return _openais(body)
        if path.endswith(":predict"):
            return _predicted(body)
        if path.endswith(":batchEmbedContents"):
            return _batched(path, body)
        if path.endswith(":embedContent"):
            return _one(body)
        if path.endswith("/v2/embed"):
            return json_answer(_cohere(body, {"billed_units": {"input_tokens": 2 * len(body["texts"])}}))
        assert path.endswith("/invoke"), path
        return _invoked(path, body)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        message = f"malformed: {error!r}"
        return failure(400, "ValidationException", message) if "/model/" in path else json_answer(
            {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}, "message": message}, 400
        )  # fmt: skip


def _only(members: Json, *names: str) -> None:
    assert members.keys() <= set(names), sorted(members.keys() - set(names))


def _openais(body: Json) -> ScriptedAnswer:
    _only(body, "model", "input", "dimensions", "encoding_format", "user")
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [vector(text, body.get("dimensions", 4)) for text in texts]
    if body.get("encoding_format") == "base64":
        found: list[Any] = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in vectors]
    else:
        found = list(vectors)
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(found)]
    usage = {"prompt_tokens": 2 * len(texts), "total_tokens": 2 * len(texts)}
    return json_answer({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _predicted(body: Json) -> ScriptedAnswer:
    _only(body, "instances", "parameters")
    parameters = body.get("parameters", {})
    _only(parameters, "outputDimensionality", "autoTruncate")
    predictions = []
    for instance in body["instances"]:
        _only(instance, "content", "task_type", "title")
        values = vector(instance["content"], parameters.get("outputDimensionality", 4))
        predictions.append({"embeddings": {"values": values, "statistics": {"token_count": 2, "truncated": False}}})
    return json_answer({"predictions": predictions, "metadata": {"billableCharacterCount": 9}})


def _text(content: Json) -> str:
    _only(content, "parts", "role")
    (part,) = content["parts"]
    _only(part, "text")
    return str(part["text"])


def _batched(path: str, body: Json) -> ScriptedAnswer:
    _only(body, "requests")
    found = []
    for request in body["requests"]:
        _only(request, "model", "content", "taskType", "title", "outputDimensionality")
        assert path.endswith(f"/{request['model']}:batchEmbedContents"), request["model"]
        found.append({"values": vector(_text(request["content"]), request.get("outputDimensionality", 4))})
    return json_answer({"embeddings": found})


def _one(body: Json) -> ScriptedAnswer:
    _only(body, "content", "embedContentConfig")
    config = body.get("embedContentConfig", {})
    _only(config, "taskType", "title", "outputDimensionality", "autoTruncate")
    values = vector(_text(body["content"]), config.get("outputDimensionality", 4))
    return json_answer({"embedding": {"values": values}, "usageMetadata": {"promptTokenCount": 2}})


def _cohere(body: Json, meta: Json | None) -> Json:
    _only(body, "model", "texts", "input_type", "embedding_types", "output_dimension", "truncate")
    assert body["input_type"] in ("search_document", "search_query", "classification", "clustering")
    assert body["embedding_types"] == ["float"] and 0 < len(body["texts"]) <= 96
    floats = [vector(text, body.get("output_dimension", 4)) for text in body["texts"]]
    found = {"id": "x", "embeddings": {"float": floats}, "texts": body["texts"], "response_type": "embeddings_by_type"}
    return found if meta is None else {**found, "meta": meta}


def _invoked(path: str, body: Json) -> ScriptedAnswer:
    if "titan" in path:
        _only(body, "inputText", "dimensions", "normalize")
        found: Json = {"embedding": vector(body["inputText"], body.get("dimensions", 4)), "inputTextTokenCount": 2}
        return json_answer(found)
    counted = (("x-amzn-bedrock-input-token-count", str(2 * len(body.get("texts", ["one"])))),)
    if "cohere" in path:
        assert "model" not in body
        return json_answer(_cohere(body, None), headers=counted)
    _only(body, "taskType", "singleEmbeddingParams")
    asked = body["singleEmbeddingParams"]
    assert body["taskType"] == "SINGLE_EMBEDDING" and asked["text"]["truncationMode"] in ("START", "END", "NONE")
    embedding = vector(asked["text"]["value"], asked.get("embeddingDimension", 4))
    return json_answer({"embeddings": [{"embeddingType": "TEXT", "embedding": embedding}]}, headers=counted)
