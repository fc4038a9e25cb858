"""What messages and tools' outputs hold, read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import Audio, Block, Document, Image, Opaque, Source, Text
from ..shared.media import file_source, image_source
from ..shared.openai import VENDOR, cache_marker
from .words import NAME


def content(value: Any, at: str, place: str) -> str | list[Block]:
    """Text, or parts. *place* is a message's role, or ``tool``."""
    if type(value) is str:
        return value
    if type(value) is not list:
        raise ProtocolError(at, f"expected a string or an array, got {json_type(value)}")
    return [_part(part, f"{at}[{i}]", place) for i, part in enumerate(value)]


def _part(value: Any, at: str, place: str) -> Block:
    if type(value) is str:
        return Text(value, at)
    if type(value) is not dict:
        raise ProtocolError(at, f"expected an object, got {json_type(value)}")
    kind = value.get("type")
    if type(kind) is not str:
        raise ProtocolError(f"{at}.type", "is missing" if kind is None else "expected a string")
    read = (_SAID_BY_MODEL if place == "assistant" else _GIVEN).get(kind)
    if read is None:
        return Opaque(NAME, value, at, essential=place != "assistant")
    fields = Fields(value, at)
    fields.ignore("type")
    return read(fields)


def _text(fields: Fields) -> Text:
    # What this API found out about an answer of its own: nothing that a model reads.
    fields.ignore("annotations", "logprobs")
    return Text(fields.take("text", str), fields.path, cache_marker(fields), extra=fields.rest())


def _refusal(fields: Fields) -> Text:
    return Text(fields.take("refusal", str), fields.path, refusal=True, extra=fields.rest())


def _image(fields: Fields) -> Image:
    cache, detail = cache_marker(fields), fields.maybe("detail", str)
    url, id_ = fields.maybe("image_url", str), fields.maybe("file_id", str)
    if url:
        source = image_source(url, fields.at("image_url"))
    elif id_:
        source = Source("file", id_, dialect=VENDOR)
    else:
        raise ProtocolError(fields.path, "either image_url or file_id is required")
    return Image(source, fields.path, None if detail == "auto" else detail, cache, fields.rest())


def _file(fields: Fields) -> Document:
    cache, title, detail = cache_marker(fields), fields.maybe("filename", str) or None, fields.maybe("detail", str)
    data, url, id_ = fields.maybe("file_data", str), fields.maybe("file_url", str), fields.maybe("file_id", str)
    if data:
        source = file_source(data, fields.at("file_data"))
    elif url:
        is_data = url[:5].lower() == "data:"
        source = file_source(url, fields.at("file_url")) if is_data else Source("url", url)
    elif id_:
        source = Source("file", id_, dialect=VENDOR)
    else:
        raise ProtocolError(fields.path, "one of file_data, file_url and file_id is required")
    extra = fields.rest()
    if detail not in (None, "auto"):
        extra = {**(extra or {}), "detail": detail}
    return Document(source, at=fields.path, title=title, cache=cache, extra=extra)


def _audio(fields: Fields) -> Audio:
    inner = Fields(fields.take("input_audio", dict), fields.at("input_audio"))
    data, kind = inner.take("data", str), inner.take("format", str)
    return Audio(data, kind, fields.path, {**(inner.rest() or {}), **(fields.rest() or {})} or None)


_GIVEN: Final[dict[str, Callable[[Fields], Block]]] = {
    "input_text": _text,
    "text": _text,
    "output_text": _text,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
_SAID_BY_MODEL: Final[dict[str, Callable[[Fields], Block]]] = {
    "output_text": _text,
    "text": _text,
    "input_text": _text,
    "refusal": _refusal,
}
