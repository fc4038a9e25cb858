"""The content blocks and tools of Anthropic's Messages API, read.

Its own clients send them, and so do clients of other APIs whose authors had Claude in mind: editors that put these
blocks inside a Chat Completions body.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ...llm import marker, signers
from ...llm.events import Extra
from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import (
    Block,
    CacheMarker,
    Document,
    Image,
    Opaque,
    SearchResult,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChange,
    ToolReference,
    ToolResult,
    WebSearch,
)
from ..base import encode
from .schemas import schema_object

NAME: Final = "anthropic_messages"
"""Whose blocks these are, and whose file ids."""

OWN_TOOL: Final = re.compile(
    r"(?:web_search|web_fetch|code_execution|bash|text_editor|computer|memory|tool_search_tool_\w+|advisor"
    r"|computer_toolset|browser_toolset)_\d{8}\Z|mcp_toolset\Z"
)
"""The ``type`` of a tool that Anthropic defines."""


def blocks(values: list[Any], at: str, place: str) -> list[Block]:
    """The blocks of a content array at *at*, of a turn's role or, as the *place*, of a ``tool_result``, ``document`` or
    ``search_result``. Empty texts, which the API refuses, are left out."""
    out: list[Block] = []
    for index, value in enumerate(values):
        read = block(value, f"{at}[{index}]", place, index)
        if not (type(read) is Text and not read.text):
            out.append(read)
    return out


def cache_marker(fields: Fields) -> CacheMarker | None:
    """Takes ``cache_control``."""
    value = fields.maybe("cache_control", dict)
    if value is None:
        return None
    ttl = value.get("ttl")
    return CacheMarker(ttl if type(ttl) is str else None)


def block(value: Any, at: str, place: str, index: int) -> Block:
    """One block of *place*, the one at *index*."""
    if type(value) is not dict:
        raise ProtocolError(at, f"expected an object, got {json_type(value)}")
    kind = value.get("type")
    if type(kind) is not str:
        raise ProtocolError(f"{at}.type", "is missing" if kind is None else "expected a string")
    if kind == "text":
        if place == "assistant" and value.get("text") is None:
            value = {**value, "text": ""}  # an answer that was cut off, as its client keeps it
        return _text(value, at)
    if place == "system":
        return _system_block(value, at, kind)
    if (allowed := _ONLY.get(place)) is not None and kind not in allowed:
        raise ProtocolError(at, f"a block of type {kind!r} cannot be in a {place}")
    if place == "assistant" and (read := _ASSISTANT.get(kind)) is not None:
        return read(value, at, index)
    if kind == "tool_use":
        raise ProtocolError(at, "tool_use blocks can only be in assistant messages")
    if kind == "tool_result" and place != "user":
        raise ProtocolError(at, "tool_result blocks can only be in user messages")
    shared = _SHARED.get(kind)
    if shared is not None and not _lies_elsewhere(value):
        return shared(value, at)
    return Opaque(NAME, value, at, essential=place != "assistant")


def _lies_elsewhere(value: dict[str, Any]) -> bool:
    """Whether *value* is a medium from where only its own API can fetch it."""
    source = value.get("source")
    kind = source.get("type") if type(source) is dict else None
    return type(kind) is str and kind not in _SOURCES


_SOURCES = ("base64", "url", "file", "text", "content")


def _text(value: dict[str, Any], at: str) -> Text:
    fields = Fields(value, at)
    fields.ignore("type")
    return Text(
        fields.take("text", str),
        at,
        cache_marker(fields),
        fields.maybe("citations", list) or None,
        extra=fields.rest(),
    )


def _image(value: dict[str, Any], at: str) -> Image:
    fields = Fields(value, at)
    fields.ignore("type")
    origin = Fields(fields.take("source", dict), f"{at}.source")
    source = _source(origin, origin.take("type", str))
    return Image(source, at, cache=cache_marker(fields), extra=_rest(fields, source=origin))


def _rest(fields: Fields, **within: Fields) -> Extra | None:
    """What nobody took of a block, and of the objects *within* it: those by names with a dot."""
    found = fields.rest() or {}
    for name, inner in within.items():
        found |= {f"{name}.{member}": value for member, value in (inner.rest() or {}).items()}
    return found or None


def _source(source: Fields, kind: str) -> Source:
    match kind:
        case "base64":
            return Source("base64", source.take("data", str), source.take("media_type", str))
        case "url":
            return Source("url", source.take("url", str))
        case "file":
            return Source("file", source.take("file_id", str), dialect=NAME)
        case "text":
            return Source("text", source.take("data", str), source.take("media_type", str, "text/plain"))
    raise ProtocolError(source.at("type"), f"unknown source type {kind!r}")


def _document(value: dict[str, Any], at: str) -> Document:
    fields = Fields(value, at)
    fields.ignore("type")
    origin = Fields(fields.take("source", dict), f"{at}.source")
    kind = origin.take("type", str)
    source, content = None, None
    if kind == "content":
        content = _nested(origin.any("content"), origin.at("content"), "document")
    else:
        source = _source(origin, kind)
    title, context = fields.maybe("title", str), fields.maybe("context", str)
    citations, cache = Fields(fields.take("citations", dict, {}), fields.at("citations")), cache_marker(fields)
    enabled = citations.take("enabled", bool, False)
    extra = _rest(fields, source=origin, citations=citations)
    return Document(source, content, at, title, context, enabled, cache, extra)


def _search_result(value: dict[str, Any], at: str) -> SearchResult:
    fields = Fields(value, at)
    fields.ignore("type")
    source, title = fields.take("source", str), fields.take("title", str)
    content: Any = blocks(fields.take("content", list), f"{at}.content", "search_result")
    citations, cache = Fields(fields.take("citations", dict, {}), fields.at("citations")), cache_marker(fields)
    enabled = citations.take("enabled", bool, False)
    return SearchResult(source, title, content, at, enabled, cache, _rest(fields, citations=citations))


def _tool_result(value: dict[str, Any], at: str) -> ToolResult:
    fields = Fields(value, at)
    fields.ignore("type")
    return ToolResult(
        marker.unsealed_id(fields.take("tool_use_id", str))[0],
        _nested(fields.any("content"), f"{at}.content", "tool_result"),
        fields.maybe("is_error", bool),
        at,
        cache_marker(fields),
        fields.rest(),
    )


def _nested(value: Any, at: str, place: str) -> str | list[Block]:
    """The content of a tool's result or of a document: absent, text, or blocks."""
    if value is None:
        return ""
    if type(value) is str:
        return value
    if place == "tool_result":
        # Tools' runners hand on what came back: it stays in the history.
        if type(value) is dict and type(value.get("type")) is str:
            value = [value]
        elif type(value) is dict:
            return encode(value).decode()
    if place == "tool_result" and type(value) is list:
        value = [{"type": "text", "text": each} if type(each) is str else each for each in value]
    if type(value) is not list:
        raise ProtocolError(at, f"expected a string or an array, got {json_type(value)}")
    return blocks(value, at, place)


def _tool_use(value: dict[str, Any], at: str, index: int) -> ToolCall:
    fields = Fields(value, at)
    # Who asked for the call (the model itself, or its code) does not matter to the one who runs it.
    fields.ignore("type", "caller")
    id_, signature = marker.unsealed_id(fields.take("id", str))
    arguments, given = None, fields.any("input")
    if type(given) is str:
        # As other servers' calls have it, handed on by a gateway.
        arguments, given = given, None
    elif given is None or given == []:
        given = {}  # PHP's empty map
    elif type(given) is not dict:
        raise ProtocolError(fields.at("input"), f"expected an object, got {json_type(given)}")
    return ToolCall(
        id_,
        fields.take("name", str),
        arguments,
        input=given,
        at=at,
        cache=cache_marker(fields),
        extra=fields.rest(),
        signature=signature,
    )


def _thinking(value: dict[str, Any], at: str, index: int) -> Thinking:
    fields = Fields(value, at)
    fields.ignore("type")
    text, signature = fields.take("thinking", str, ""), fields.take("signature", str, "") or None
    if (seal := marker.unsealed(signature)) is not None:
        return Thinking(text, seal.signature, seal.encrypted, seal.signer, index, at, fields.rest())
    signer = marker.SIGNER if marker.is_mark(signature) else signers.CLAUDE if signature else ""
    return Thinking(text, signature, None, signer, index, at, fields.rest())


def _redacted(value: dict[str, Any], at: str, index: int) -> Thinking:
    fields = Fields(value, at)
    fields.ignore("type")
    data = fields.maybe("data", str)
    if data is None:
        # It stays in the history, and says nothing that an upstream could read.
        return Thinking("", index=index, at=at, extra=fields.rest())
    seal = marker.unsealed(data) or marker.Seal(signers.CLAUDE, encrypted=data)
    return Thinking("", seal.signature, seal.encrypted, seal.signer, index, at, fields.rest())


def _tool_reference(value: dict[str, Any], at: str) -> ToolReference:
    fields = Fields(value, at)
    fields.ignore("type")
    return ToolReference(fields.take("tool_name", str), at, cache_marker(fields), fields.rest())


# ---- system messages in mid-conversation


def _system_block(value: dict[str, Any], at: str, kind: str) -> Block:
    """What is no text only changes which tools there are, or is not known: nothing that the user said."""
    if kind not in ("tool_addition", "tool_removal"):
        return Opaque(NAME, value, at)
    target, defined = value.get("tool"), None
    if type(target) is dict and target.get("type") == "tool_definition":
        definition = target.get("definition")
        defined = tool(dict(definition) if type(definition) is dict else definition, f"{at}.tool.definition")
    return ToolChange(kind == "tool_addition", NAME, value, defined, at)


# ---- tools


def tool(value: Any, at: str) -> Tool:
    """An entry of ``tools``. Raises ProtocolError."""
    native = dict(value) if type(value) is dict else None
    fields = Fields(value, at)
    kind = fields.take("type", str, "custom")
    cache = cache_marker(fields)
    if kind == "custom":
        return Tool(
            fields.take("name", str),
            description=fields.maybe("description", str),
            schema=schema_object(fields, "input_schema"),
            strict=fields.maybe("strict", bool),
            dialect=NAME,
            at=at,
            cache=cache,
            extra=fields.rest(),
        )
    name = fields.take("name", str, kind)
    if kind.startswith("web_search_"):
        location = fields.maybe("user_location", dict)
        flat = {k: v for k, v in location.items() if k != "type" and v is not None} if location else None
        search = WebSearch(max_uses=fields.maybe("max_uses", int), user_location=flat or None)
        return Tool(
            name, "web_search", search=search, native=native, dialect=NAME, at=at, cache=cache, extra=fields.rest()
        )
    return Tool(name, "provider", native=native, dialect=NAME, at=at, cache=cache)


_ONLY: Final = {"search_result": ("text",), "document": ("text", "image")}
"""Where only some types may stand."""
_SHARED: Final[dict[str, Callable[[dict[str, Any], str], Block]]] = {
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_result": _tool_result,
    "tool_reference": _tool_reference,
}
_ASSISTANT: Final[dict[str, Callable[[dict[str, Any], str, int], Block]]] = {
    "tool_use": _tool_use,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
}
