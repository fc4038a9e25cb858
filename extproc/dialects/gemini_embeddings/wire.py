"""Requests and answers of ``embedContent`` and ``batchEmbedContents``."""

from __future__ import annotations

from typing import Any, Final

from ...llm.embeddings import EmbedRequest, Vectors, numbers, texts
from ...llm.losses import LossReport
from ..base import encode
from ..shared.counts import exact
from ..shared.google import task
from ..shared.vectors import item, items, members, value

VERTEX: Final = "/publishers/"
MOST: Final = 100
"""Requests of one batch (Gemini API reference, ``batchEmbedContents``)."""


def many(asked: EmbedRequest, model: str, losses: LossReport) -> dict[str, Any]:
    """A batch for the Gemini API, each text with its settings. Raises Unsupported."""
    shared = task(asked, losses)
    if asked.dimensions is not None:
        shared["outputDimensionality"] = asked.dimensions
    if asked.truncate is not None:
        losses.dropped(asked.path_of("truncate"))
    named = f"models/{model}"
    return {"requests": [{"model": named, "content": _content(text), **shared} for text in texts(asked, MOST)]}


def one(asked: EmbedRequest, losses: LossReport) -> dict[str, Any]:
    """One text for Vertex AI, where the settings stand apart. Raises Unsupported."""
    (text,) = texts(asked, 1)
    config: dict[str, Any] = task(asked, losses)
    if asked.dimensions is not None:
        config["outputDimensionality"] = asked.dimensions
    if asked.truncate is not None:
        config["autoTruncate"] = asked.truncate
    content = {"content": _content(text)}
    return {**content, "embedContentConfig": config} if config else content


def _content(text: str) -> dict[str, Any]:
    return {"parts": [{"text": text}]}


def write(request: EmbedRequest, vectors: Vectors) -> bytes:
    """The client's answer. Raises ProtocolError."""
    found = [{"values": numbers(raw, "values")} for raw in vectors.items]
    answer: dict[str, Any] = {"embedding": found[0]} if request.single else {"embeddings": found}
    if vectors.truncated and request.single:
        answer["truncated"] = True
    if vectors.input_tokens is not None:
        answer["usageMetadata"] = {"promptTokenCount": vectors.input_tokens, "totalTokenCount": vectors.input_tokens}
    return encode(answer)


def read(body: bytes) -> Vectors:
    """Raises ProtocolError."""
    answer = members(body, "body")
    if "embedding" in answer:
        found = [item(members(answer["embedding"], "embedding"), "values", "embedding.values")]
    else:
        found = [
            item(members(each, f"embeddings[{index}]"), "values", f"embeddings[{index}].values")
            for index, each in enumerate(items(answer, "embeddings", "embeddings"))
        ]
    usage = value(answer, "usageMetadata")
    tokens = exact(usage.get("promptTokenCount")) if type(usage) is dict else None
    truncated = tuple(range(len(found))) if value(answer, "truncated") is True else ()
    return Vectors(found, tokens, truncated=truncated)
