"""Request and answer of ``:predict``. Members within an instance are in snake case, parameters in camel case."""

from __future__ import annotations

from typing import Any, Final

from ...capabilities import Capabilities
from ...llm.embeddings import EmbedRequest, Vectors, texts
from ...llm.losses import LossReport
from ..shared.counts import exact
from ..shared.google import task
from ..shared.vectors import item, items, members, value

MOST: Final = 250
"""Texts of one request (Vertex AI, "Get text embeddings"); a model may take fewer."""


def request(asked: EmbedRequest, capabilities: Capabilities, losses: LossReport) -> dict[str, Any]:
    """Raises Unsupported."""
    said = task(asked, losses)
    shared = {name: said[own] for name, own in (("task_type", "taskType"), ("title", "title")) if own in said}
    found = texts(asked, capabilities.max_inputs or MOST)
    members: dict[str, Any] = {"instances": [{"content": text, **shared} for text in found]}
    parameters: dict[str, Any] = {}
    if asked.dimensions is not None:
        parameters["outputDimensionality"] = asked.dimensions
    if asked.truncate is not None:
        parameters["autoTruncate"] = asked.truncate
    return {**members, "parameters": parameters} if parameters else members


def read(body: bytes) -> Vectors:
    """Raises ProtocolError."""
    vectors: list[Any] = []
    tokens: int | None = 0
    truncated: list[int] = []
    for index, each in enumerate(items(members(body, "body"), "predictions", "predictions")):
        path = f"predictions[{index}]"
        found = members(item(members(each, path), "embeddings", f"{path}.embeddings"), f"{path}.embeddings")
        vectors.append(item(found, "values", f"{path}.embeddings.values"))
        statistics = value(found, "statistics")
        statistics = statistics if type(statistics) is dict else {}
        counted = _whole(statistics.get("token_count"))
        # Of some of them it would be no count of the request.
        tokens = None if tokens is None or counted is None else tokens + counted
        if statistics.get("truncated") is True:
            truncated.append(index)
    return Vectors(vectors, tokens, truncated=tuple(truncated))


def _whole(number: Any) -> int | None:
    """Google writes counts here as 8 or as 8.0."""
    return exact(int(number)) if type(number) is float and number.is_integer() else exact(number)
