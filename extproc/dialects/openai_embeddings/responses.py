"""An answer of OpenAI's Embeddings API: read without decoding its numbers, and written around numbers of others."""

from __future__ import annotations

from typing import Any

from ...llm.embeddings import EmbedRequest, Vectors, numbers, packed
from ..base import encode
from ..shared.counts import exact
from ..shared.vectors import item, items, members, value


def read(body: bytes) -> Vectors:
    """Raises ProtocolError."""
    answer = members(body, "body")
    vectors = [
        item(members(each, f"data[{index}]"), "embedding", f"data[{index}].embedding")
        for index, each in enumerate(items(answer, "data", "data"))
    ]
    model = value(answer, "model")
    return Vectors(vectors, _tokens(value(answer, "usage")), model if type(model) is str else "")


def _tokens(usage: Any) -> int | None:
    if type(usage) is not dict:
        return None
    tokens = exact(usage.get("prompt_tokens"))
    # Some servers give the total alone, which for embeddings is the same.
    return exact(usage.get("total_tokens")) if tokens is None else tokens


def write(request: EmbedRequest, vectors: Vectors) -> bytes:
    """The API has no word for counts that are not known, nor for a text that was cut: the SDKs keep what they do not
    know. Raises ProtocolError."""
    data: list[dict[str, Any]] = []
    for index, raw in enumerate(vectors.items):
        vector = packed(raw) if request.base64 else numbers(raw, "embedding")
        data.append({"object": "embedding", "index": index, "embedding": vector})
        if index in vectors.truncated:
            data[-1]["truncated"] = True
    tokens = vectors.input_tokens or 0
    return encode({
        "object": "list",
        "data": data,
        "model": vectors.model or request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })  # fmt: skip
