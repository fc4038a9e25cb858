"""A Converse request's content blocks, read. Each is an object with one member, whose name is its kind."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ...llm import marker
from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import (
    Audio,
    Block,
    CacheMarker,
    Document,
    Image,
    Opaque,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ..base import encode
from .words import CLAUDE, DOCUMENT_TYPES, IMAGE_TYPES, NAME, TEXT_FORMATS, read_redacted

ESSENTIAL: Final = frozenset({"video", "guardContent"})
"""Kinds that no other API has and that hold what the user said."""


def blocks(values: list[Any], at: str, place: str) -> list[Block]:
    """The blocks of an array at *at*, of a turn's role or, as the *place*, of a ``toolResult`` or ``searchResult``.
    A cache point marks what stands before it; empty texts, which the API refuses, are left out."""
    out: list[Block] = []
    for index, value in enumerate(values):
        if type(value) is not dict or not value:
            raise ProtocolError(f"{at}[{index}]", f"expected an object with one member, got {json_type(value)}")
        if (marker := cache_point(value)) is None:
            block = _block(value, f"{at}[{index}]", place, index)
            if not (type(block) is Text and not block.text):
                out.append(block)
        elif out and type(out[-1]) in _CACHED:
            out[-1] = replace(out[-1], cache=marker)
    return out


def cache_point(value: dict[str, Any]) -> CacheMarker | None:
    """What a cache point says; ``None`` for anything else."""
    point = value.get("cachePoint")
    if type(point) is not dict:
        return None
    ttl = point.get("ttl")
    return CacheMarker(ttl if type(ttl) is str else None)


_CACHED: Final = frozenset({Text, Image, Document, SearchResult, ToolCall, ToolResult})
"""What a cache marker can stand on."""


def _block(value: dict[str, Any], at: str, place: str, index: int) -> Block:
    kind = next((name for name in value if name == "text" or name in _READ), next(iter(value)))
    if kind == "text":
        text = value[kind]
        if type(text) is not str:
            raise ProtocolError(f"{at}.text", f"expected a string, got {json_type(text)}")
        return Text(text, at, extra={name: more for name, more in value.items() if name != kind} or None)
    if place == "tool_result" and kind == "json":
        return Text(encode(value[kind]).decode(), at)
    wanted = _ROLE_OF.get(kind)
    if wanted is not None and place != wanted:
        raise ProtocolError(at, f"{kind} can only stand in a message of role {wanted}")
    read = _READ.get(kind)
    if read is None:
        return Opaque(NAME, value, at, essential=place == "user" and kind in ESSENTIAL)
    held = value[kind]
    if len(value) > 1 and type(held) is dict:
        # The API has one member here: what stands beside it is read with what is in it, and so reported.
        held = {**held, **{name: more for name, more in value.items() if name != kind}}
    return read(Fields(held, f"{at}.{kind}"), at, index)


def _image(fields: Fields, at: str, index: int) -> Block:
    format_ = fields.take("format", str)
    source = _source(fields, IMAGE_TYPES.get(format_, f"image/{format_}"))
    return Image(source, at, extra=fields.rest())


def _document(fields: Fields, at: str, index: int) -> Block:
    format_, name = fields.take("format", str, "txt"), fields.take("name", str)
    source = Fields(fields.take("source", dict), fields.at("source"))
    citations = fields.take("citations", dict, {}).get("enabled") is True
    context = fields.maybe("context", str)
    parts: list[Block] | None = None
    found: Source | None = None
    if (text := source.maybe("text", str)) is not None:
        found = Source("text", text, "text/plain")
    elif (content := source.maybe("content", list)) is not None:
        parts = blocks(content, source.at("content"), "document")
    else:
        media_type = DOCUMENT_TYPES.get(format_, "application/octet-stream")
        found = _located(source, media_type)
        if found.kind == "base64" and format_ in TEXT_FORMATS:
            found = _plain(found, media_type)
    return Document(found, parts, at, name, context, citations, extra=fields.rest())


def _plain(source: Source, media_type: str) -> Source:
    """A text file as the text that it is, where its bytes are UTF-8."""
    try:
        return Source("text", base64.b64decode(source.data, validate=True).decode("utf-8"), media_type)
    except (binascii.Error, ValueError):
        return source


def _source(fields: Fields, media_type: str) -> Source:
    return _located(Fields(fields.take("source", dict), fields.at("source")), media_type)


def _located(source: Fields, media_type: str) -> Source:
    location = source.maybe("s3Location", dict)
    if location is None:
        return Source("base64", source.take("bytes", str), media_type)
    where = Fields(location, source.at("s3Location"))
    return Source("url", where.take("uri", str), media_type)


def _audio(fields: Fields, at: str, index: int) -> Block:
    format_, source = fields.take("format", str), Fields(fields.take("source", dict), fields.at("source"))
    return Audio(source.take("bytes", str), format_, at)


def _tool_use(fields: Fields, at: str, index: int) -> Block:
    if fields.lenient("type", str, "") == "server_tool_use":
        return Opaque(NAME, {"toolUse": {**(fields.rest() or {}), "type": "server_tool_use"}}, at)
    id_, signature = marker.unsealed_id(fields.take("toolUseId", str))
    name, given = fields.take("name", str), fields.any("input")
    if type(given) is dict:
        return ToolCall(id_, name, input=given, at=at, extra=fields.rest(), signature=signature)
    # The API takes any document; a call's input is an object everywhere else.
    text = encode(given).decode() if given is not None else "{}"
    return ToolCall(id_, name, text, at=at, extra=fields.rest(), signature=signature)


def _tool_result(fields: Fields, at: str, index: int) -> Block:
    id_, _ = marker.unsealed_id(fields.take("toolUseId", str))
    status = fields.maybe("status", str)
    content = blocks(fields.take("content", list, []), f"{at}.toolResult.content", "tool_result")
    failed = None if status is None else status == "error"
    kind = fields.maybe("type", str)
    if kind is not None:
        return Opaque(NAME, {"toolResult": {"toolUseId": id_, "type": kind}}, at)
    return ToolResult(id_, content, failed, at, extra=fields.rest())


def _reasoning(fields: Fields, at: str, index: int) -> Block:
    if (blob := fields.maybe("redactedContent", str)) is not None:
        encrypted, signer = read_redacted(blob)
        return Thinking("", encrypted=encrypted, signer=signer, index=index, at=at)
    text = Fields(fields.take("reasoningText", dict), fields.at("reasoningText"))
    signature = text.maybe("signature", str)
    if (seal := marker.unsealed(signature)) is not None:
        return Thinking(text.take("text", str, ""), seal.signature, seal.encrypted, seal.signer, index, at)
    signer = CLAUDE if signature else ""
    return Thinking(text.take("text", str, ""), signature, None, signer, index, at)


def _cited(fields: Fields, at: str, index: int) -> Block:
    parts = fields.take("content", list, [])
    texts = [part.get("text") for part in parts if type(part) is dict]
    return Text("".join(text for text in texts if type(text) is str), at)


def _search_result(fields: Fields, at: str, index: int) -> Block:
    content = blocks(fields.take("content", list), fields.at("content"), "search_result")
    citations = fields.take("citations", dict, {}).get("enabled") is True
    texts = [block for block in content if type(block) is Text]
    return SearchResult(fields.take("source", str), fields.take("title", str), texts, at, citations)


_ROLE_OF: Final = {"toolUse": "assistant", "toolResult": "user", "reasoningContent": "assistant"}
"""Kinds that may stand in one role's messages only."""
_READ: Final[dict[str, Callable[[Fields, str, int], Block]]] = {
    "image": _image,
    "document": _document,
    "audio": _audio,
    "toolUse": _tool_use,
    "toolResult": _tool_result,
    "reasoningContent": _reasoning,
    "citationsContent": _cited,
    "searchResult": _search_result,
}
