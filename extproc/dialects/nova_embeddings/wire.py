"""Request and answer of Nova Multimodal Embeddings."""

from __future__ import annotations

from typing import Any, Final

from ...llm.embeddings import EmbedRequest, Purpose, Vectors, texts
from ...llm.losses import LossReport
from ..base import ResponseHead
from ..shared.bedrock import tokens_of_head
from ..shared.counts import exact
from ..shared.purposes import demanded
from ..shared.vectors import item, items, members, value

_PURPOSES: Final[dict[Purpose, str]] = {
    "document": "GENERIC_INDEX",
    "query": "GENERIC_RETRIEVAL",
    "question": "GENERIC_RETRIEVAL",
    "fact": "GENERIC_RETRIEVAL",
    "code": "GENERIC_RETRIEVAL",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
_OTHERWISE: Final = "GENERIC_INDEX"
"""It must be told a purpose."""


def request(asked: EmbedRequest, losses: LossReport) -> dict[str, Any]:
    """Raises Unsupported."""
    (text,) = texts(asked, 1)
    purpose = demanded(asked, _PURPOSES, _OTHERWISE, losses)
    if asked.title is not None:
        losses.dropped(asked.path_of("title"))
    told: dict[str, Any] = {"embeddingPurpose": purpose}
    if asked.dimensions is not None:
        told["embeddingDimension"] = asked.dimensions
    # Demanded as well. OpenAI's API refuses what is too long.
    told["text"] = {"truncationMode": "END" if asked.truncate else "NONE", "value": text}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": told}


def read(head: ResponseHead, body: bytes) -> Vectors:
    """Raises ProtocolError."""
    answer = members(body, "body")
    found = [members(each, f"embeddings[{i}]") for i, each in enumerate(items(answer, "embeddings", "embeddings"))]
    vectors = [item(each, "embedding", f"embeddings[{index}].embedding") for index, each in enumerate(found)]
    cut = tuple(index for index, each in enumerate(found) if value(each, "truncatedCharLength") is not None)
    tokens = exact(value(answer, "inputTextTokenCount"))
    return Vectors(vectors, tokens_of_head(head) if tokens is None else tokens, truncated=cut)
