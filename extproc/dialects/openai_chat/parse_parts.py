"""A Chat request's content parts, read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import Audio, Block, Document, Image, Opaque, Source, Text, Thinking, ToolResult
from ..shared import anthropic
from ..shared.media import file_source, image_source
from ..shared.openai import VENDOR, cache_marker
from .vocabulary import NAME


def content(fields: Fields, role: str) -> str | list[Block]:
    """Takes ``content`` of a message of *role*; absent, it is the empty string."""
    value = fields.any("content")
    if value is None:
        return ""
    if type(value) is str:
        return value
    return parts(value, fields.at("content"), role)


def parts(value: Any, at: str, role: str) -> list[Block]:
    """What the list *value* at *at* holds."""
    if type(value) is not list:
        raise ProtocolError(at, f"expected a string or an array, got {json_type(value)}")
    if role == "tool":
        return [block for i, part in enumerate(value) for block in _answer(part, f"{at}[{i}]", i)]
    return [_part(part, f"{at}[{i}]", role, i) for i, part in enumerate(value)]


def _answer(value: Any, at: str, index: int) -> list[Block]:
    """A part of a tool's message: of a result in Anthropic's shape, what it holds."""
    if type(value) is not dict or value.get("type") != "tool_result":
        return [_part(value, at, "tool", index)]
    read = anthropic.block(value, at, "user", index)
    held = read.content if isinstance(read, ToolResult) else ""
    return [Text(held, at)] if isinstance(held, str) else [*held]


def _part(value: Any, at: str, role: str, index: int) -> Block:
    if type(value) is str:
        return Text(value, at)
    if type(value) is not dict:
        raise ProtocolError(at, f"expected an object, got {json_type(value)}")
    kind = value.get("type")
    if type(kind) is not str:
        raise ProtocolError(f"{at}.type", "is missing" if kind is None else "expected a string")
    if kind in _TEXTS:
        fields = Fields(value, at)
        fields.ignore("type", "annotations")
        return Text(fields.take("text", str), at, cache_marker(fields), extra=fields.rest())
    if role == "system":
        raise ProtocolError(at, f"a system message can only hold text, got {kind!r}")
    if _is_anthropics(value, kind, role):
        return anthropic.block(value, at, "tool_result" if role == "tool" else role, index)
    read = (_ASSISTANT if role == "assistant" else _USER).get(kind)
    if read is not None:
        fields = Fields(value, at)
        fields.ignore("type")
        return read(fields)
    return Opaque(NAME, value, at, essential=role != "assistant")


def _is_anthropics(value: dict[str, Any], kind: str, role: str) -> bool:
    """Whether the part is a block of Anthropic's API, as editors that had Claude in mind put into a Chat body.
    Mistral's thinking has the same name, and neither one text nor a signature."""
    if kind == "thinking":
        return role == "assistant" and type(value.get("thinking")) is str and bool(value.get("signature"))
    return role in _ANTHROPICS.get(kind, ())


def _refusal(fields: Fields) -> Text:
    return Text(fields.take("refusal", str), fields.path, refusal=True, extra=fields.rest())


def _thinking(fields: Fields) -> Thinking:
    """Mistral's, a list of texts; some servers write one text."""
    value = fields.any("thinking")
    if type(value) is list:
        texts = [part.get("text") for part in value if type(part) is dict]
        value = "".join(text for text in texts if type(text) is str)
    if type(value) is not str:
        raise ProtocolError(fields.at("thinking"), f"expected an array or a string, got {json_type(value)}")
    fields.ignore("closed")
    return Thinking(value, at=fields.path, extra=fields.rest())


def _image(fields: Fields) -> Image:
    cache = cache_marker(fields)
    at = fields.at("image_url")
    value = fields.any("image_url")
    inner = Fields({"url": value} if type(value) is str else value, at)
    url, detail = inner.take("url", str), inner.maybe("detail", str)
    extra = {**(inner.rest() or {}), **(fields.rest() or {})}
    source = image_source(url, inner.at("url"))
    return Image(source, at, None if detail == "auto" else detail, cache, extra or None)


def _flat_image(fields: Fields) -> Image:
    """As the Responses API writes it."""
    detail = fields.maybe("detail", str)
    if "image_url" in fields:
        image = _image(fields)
    else:
        cache, source = cache_marker(fields), Source("file", fields.take("file_id", str), dialect=VENDOR)
        image = Image(source, fields.path, cache=cache, extra=fields.rest())
    return image if detail in (None, "auto") else replace(image, detail=detail)


def _file(fields: Fields) -> Document:
    """Flat, as the Responses API writes it, or nested."""
    cache = cache_marker(fields)
    inner = Fields(fields.take("file", dict), fields.at("file")) if "file" in fields else fields
    data, id_ = inner.maybe("file_data", str) or inner.maybe("file_url", str), inner.maybe("file_id", str)
    title = inner.maybe("filename", str) or None
    if data:
        source = file_source(data, inner.at("file_data"))
    elif id_:
        source = Source("file", id_, dialect=VENDOR)
    else:
        raise ProtocolError(inner.path, "either file_data or file_id is required")
    extra = {**(inner.rest() or {}), **(fields.rest() or {})}
    return Document(source, at=fields.path, title=title, cache=cache, extra=extra or None)


def _audio(fields: Fields) -> Audio:
    inner = Fields(fields.take("input_audio", dict), fields.at("input_audio"))
    data, kind = inner.take("data", str), inner.take("format", str)
    return Audio(data, kind, fields.path, {**(inner.rest() or {}), **(fields.rest() or {})} or None)


_TEXTS = ("text", "input_text", "output_text")
"""The Responses API's names too."""
_USER: Final[dict[str, Callable[[Fields], Block]]] = {
    "image_url": _image,
    "input_image": _flat_image,
    "file": _file,
    "input_file": _file,
    "input_audio": _audio,
}
_ASSISTANT: Final[dict[str, Callable[[Fields], Block]]] = {"refusal": _refusal, "thinking": _thinking}
_ANTHROPICS: Final = {
    "image": ("user", "tool"),
    "document": ("user", "tool"),
    "search_result": ("user", "tool"),
    "tool_reference": ("tool",),
    "tool_result": ("user",),
    "tool_use": ("assistant",),
    "redacted_thinking": ("assistant",),
}
"""Types of Anthropic's blocks, and in whose messages they stand."""
