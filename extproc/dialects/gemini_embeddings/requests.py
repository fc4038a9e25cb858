"""What Google's clients ask for by ``embedContent`` and ``batchEmbedContents``."""

from __future__ import annotations

from typing import Any, Final

from ...llm.embeddings import EmbedRequest, Input
from ...llm.failures import ProtocolError, Unsupported
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ..shared.purposes import PURPOSES
from ..shared.reading import decode
from ..values import Asked

NAME: Final = "gemini_embeddings"
WORDS = ("dimensions",)
"""What a route's options may say in the client's stead."""
_SETTINGS: Final = {
    "taskType": "purpose",
    "title": "title",
    "outputDimensionality": "dimensions",
    "autoTruncate": "truncate",
}


class EmbedAsked(Asked):
    """``many``: several texts in one request."""

    many: bool = True


def parse(body: bytes, model: str, losses: LossReport, *, many: bool) -> EmbedRequest:
    """*model* is the path's, *many*: a batch. Raises ProtocolError, Unsupported."""
    fields = Fields(decode(body, ""), "")
    dimensions = fields.maybe("dimensions", int)
    if many:
        listed = fields.take("requests", list)
        if not listed:
            raise ProtocolError("requests", "is empty")
        asked = [Fields(each, f"requests[{index}]") for index, each in enumerate(listed)]
    else:
        asked = [fields]
    inputs: list[Input] = []
    at: dict[str, str] = {}
    common: dict[str, Any] | None = None
    for each in asked:
        each.ignore("model")
        inputs.append(_input(each, losses))
        said = _said(each, at, losses)
        if each is not fields:
            losses.extra(each.path, each.rest())
        if common is not None and said != common:
            raise Unsupported(each.path, f"{each.path}: all requests of a batch must have the same settings")
        common = said
    losses.extra("", fields.rest())
    words = {"dimensions": dimensions} if dimensions is not None else {}
    return EmbedRequest(dialect=NAME, model=model, inputs=inputs, single=not many, at=at, **{**(common or {}), **words})


def _said(fields: Fields, at: dict[str, str], losses: LossReport) -> dict[str, Any]:
    """The settings of one text, which Vertex AI has in an object of their own."""
    config = fields.any("embedContentConfig")
    places = [fields] if config is None else [Fields(config, fields.at("embedContentConfig")), fields]
    said: dict[str, Any] = {}
    for place in places:
        for name, word in _SETTINGS.items():
            kind: Any = {"dimensions": int, "truncate": bool}.get(word, str)
            value = place.maybe(name, kind)
            if value is None or word in said:
                continue
            at.setdefault(word, place.at(name))
            if word == "purpose":
                value = _purpose(value, place.at(name), losses)
            said[word] = value
        if place is not fields:
            losses.extra(place.path, place.rest())
    return said


def _purpose(word: str, path: str, losses: LossReport) -> Any:
    purpose = PURPOSES.get(word.lower())
    if purpose is None and word != "TASK_TYPE_UNSPECIFIED":
        losses.dropped(path, "nobody knows this word")
    return purpose


def _input(fields: Fields, losses: LossReport) -> Input:
    path = fields.at("content")
    content = fields.any("content")
    if content is None:
        raise ProtocolError(path, "is missing")
    if type(content) is str:
        content, at = {"parts": [{"text": content}]}, path
    else:
        at = f"{path}.parts[0].text"
    held = Fields(content, path)
    held.ignore("role")
    parts = held.any("parts")
    parts = [parts] if type(parts) is dict else parts
    if type(parts) is not list or not parts:
        raise ProtocolError(f"{path}.parts", f"expected an array of parts, got {json_type(parts)}")
    texts = []
    for index, part in enumerate(parts):
        text = part.get("text") if type(part) is dict else None
        if type(text) is not str:
            where = f"{path}.parts[{index}]"
            raise Unsupported(where, f"{where}: this upstream embeds texts alone", "invalid_value")
        texts.append(text)
    if len(texts) > 1:
        losses.rewritten(f"{path}.parts", "as one text")
        at = f"{path}.parts"
    losses.extra(path, held.rest())
    return Input("\n".join(texts), at=at)
