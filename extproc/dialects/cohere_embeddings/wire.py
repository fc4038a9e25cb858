"""Request and answer of Cohere's models of embeddings, wherever they are served."""

from __future__ import annotations

from typing import Any, Final

from ...capabilities import Capabilities
from ...llm.embeddings import EmbedRequest, Purpose, Vectors, numbers, packed, texts
from ...llm.losses import LossReport
from ..base import ResponseHead, encode
from ..shared.bedrock import tokens_of_head
from ..shared.counts import exact
from ..shared.purposes import demanded
from ..shared.vectors import items, members, of_one_size, value

MOST: Final = 96
"""Texts of one request."""

_PURPOSES: Final[dict[Purpose, str]] = {
    "document": "search_document",
    "query": "search_query",
    "question": "search_query",
    "fact": "search_query",
    "code": "search_query",
    "classification": "classification",
    "clustering": "clustering",
}
_OTHERWISE: Final = "search_document"
"""It must be told a purpose: what is kept and searched is embedded more often than it is asked for."""


def request(asked: EmbedRequest, capabilities: Capabilities, losses: LossReport, cut: str) -> dict[str, Any]:
    """*cut*: what the server calls to cut a text at its end. Raises Unsupported."""
    body: dict[str, Any] = {
        "texts": texts(asked, MOST),
        "input_type": demanded(asked, _PURPOSES, _OTHERWISE, losses),
        "embedding_types": ["float"],
    }
    if asked.dimensions is not None:
        if not capabilities.dimensions:
            raise of_one_size(asked)
        body["output_dimension"] = asked.dimensions
    if asked.truncate is not None:
        body["truncate"] = cut if asked.truncate else "NONE"
    if asked.title is not None:
        losses.dropped(asked.path_of("title"))
    return body


def write(asked: EmbedRequest, vectors: Vectors) -> bytes:
    """The client's answer. Raises ProtocolError."""
    form = "base64" if asked.base64 else "float"
    found = [packed(raw) if asked.base64 else numbers(raw, "float") for raw in vectors.items]
    meta: dict[str, Any] = {"api_version": {"version": "2"}}
    if vectors.input_tokens is not None:
        meta["billed_units"] = {"input_tokens": vectors.input_tokens}
    # The SDKs' type demands an id, and nobody asks for an answer by it.
    return encode({"id": "", "embeddings": {form: found}, "meta": meta, "response_type": "embeddings_by_type"})


def read(head: ResponseHead, body: bytes) -> Vectors:
    """Raises ProtocolError."""
    answer = members(body, "body")
    if bytes(answer.get("embeddings", b"")).lstrip().startswith(b"{"):
        found = items(members(answer["embeddings"], "embeddings"), "float", "embeddings.float")
    else:
        # As models give them that were not asked for a type.
        found = items(answer, "embeddings", "embeddings")
    return Vectors(found, _tokens(head, value(answer, "meta")))


def _tokens(head: ResponseHead, meta: Any) -> int | None:
    billed = meta.get("billed_units") if type(meta) is dict else None
    number = billed.get("input_tokens") if type(billed) is dict else None
    if type(number) is float and number.is_integer():
        number = int(number)
    tokens = exact(number)
    return tokens_of_head(head) if tokens is None else tokens
