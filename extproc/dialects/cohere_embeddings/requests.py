"""What Cohere's clients ask for."""

from __future__ import annotations

from typing import Any, Final

from ...llm.embeddings import EmbedRequest, Input
from ...llm.failures import ProtocolError, Unsupported
from ...llm.fields import Fields
from ...llm.losses import LossReport
from ..shared.purposes import PURPOSES
from ..shared.reading import decode

NAME: Final = "cohere_embeddings"
WORDS = ("dimensions",)
"""What a route's options may say in the client's stead."""


def parse(body: bytes, losses: LossReport) -> EmbedRequest:
    """Raises ProtocolError, Unsupported."""
    fields = Fields(decode(body, ""), "")
    said = fields.take("input_type", str)
    purpose = PURPOSES.get(said.lower())
    if purpose is None:
        raise ProtocolError("input_type", "expected search_document, search_query, classification or clustering")
    form = _form(fields.take("embedding_types", list, ["float"]))
    cut = fields.maybe("truncate", str)
    dimensions, size = fields.maybe("dimensions", int), fields.maybe("output_dimension", int)
    request = EmbedRequest(
        dialect=NAME,
        model=fields.take("model", str, ""),
        inputs=_inputs(fields),
        dimensions=size if dimensions is None else dimensions,
        purpose=purpose,
        truncate=None if cut is None else cut.upper() != "NONE",
        base64=form == "base64",
        at={"purpose": "input_type", "dimensions": "output_dimension"},
    )
    losses.extra("", fields.rest())
    return request


def _form(types: list[Any]) -> str:
    for index, name in enumerate(types):
        if name not in ("float", "base64"):
            path = f"embedding_types[{index}]"
            raise Unsupported(path, f"{path}: this upstream gives numbers alone: float, or base64 of them")
    if len(types) != 1:
        raise Unsupported("embedding_types", "embedding_types: this upstream gives vectors in one form")
    return str(types[0])


def _inputs(fields: Fields) -> list[Input]:
    if "images" in fields:
        raise Unsupported("images", "images: this upstream embeds texts alone")
    texts, inputs = fields.any("texts"), fields.any("inputs")
    if texts is not None:
        if type(texts) is not list or not texts or not all(type(text) is str for text in texts):
            raise ProtocolError("texts", "expected an array of strings")
        return [Input(text, at=f"texts[{index}]") for index, text in enumerate(texts)]
    if type(inputs) is not list or not inputs:
        raise ProtocolError("texts", "is missing")
    return [_input(each, f"inputs[{index}]") for index, each in enumerate(inputs)]


def _input(given: Any, path: str) -> Input:
    content = given.get("content") if type(given) is dict else None
    part = content[0] if type(content) is list and len(content) == 1 else None
    text = part.get("text") if type(part) is dict else None
    if type(text) is not str:
        raise Unsupported(f"{path}.content", f"{path}.content: this upstream embeds one text alone", "invalid_value")
    return Input(text, at=f"{path}.content[0].text")
