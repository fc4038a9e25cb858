"""Request and answer of Titan Text Embeddings."""

from __future__ import annotations

import re
from typing import Any, Final

from ...llm.embeddings import EmbedRequest, Vectors, texts
from ...llm.losses import LossReport
from ..base import ResponseHead
from ..shared.bedrock import tokens_of_head
from ..shared.counts import exact
from ..shared.vectors import item, members, of_one_size, value

_FIRST: Final = re.compile(r"titan-embed-(?:text-v1|g1)")
"""The first generation takes a text and nothing else."""


def request(asked: EmbedRequest, losses: LossReport) -> dict[str, Any]:
    """Raises Unsupported."""
    (text,) = texts(asked, 1)
    body: dict[str, Any] = {"inputText": text}
    if asked.dimensions is not None:
        if _FIRST.search(asked.model):
            raise of_one_size(asked)
        body["dimensions"] = asked.dimensions
    for word in ("purpose", "title", "truncate"):
        if getattr(asked, word) is not None:
            losses.dropped(asked.path_of(word))
    return body


def read(head: ResponseHead, body: bytes) -> Vectors:
    """Raises ProtocolError."""
    answer = members(body, "body")
    if "embedding" in answer or "embeddingsByType" not in answer:
        vector = item(answer, "embedding", "embedding")
    else:
        by_type = members(answer["embeddingsByType"], "embeddingsByType")
        vector = item(by_type, "float", "embeddingsByType.float")
    tokens = exact(value(answer, "inputTextTokenCount"))
    return Vectors([vector], tokens_of_head(head) if tokens is None else tokens)
