"""A capture that may be shown: its shape, without what people and models said.

Letters become ``x`` and digits ``1``; what stays is what an API is made of: members' names, words of a known member
such as ``type``, ids, punctuation, lengths. So it translates as the original does, and what the original became, made
unreadable likewise, is what it becomes. A member that nobody knows is unreadable, not the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..telemetry.readable import EVENT_END, read, written
from .again import NOWHERE, Captured

KEPT = frozenset(
    {"type", "role", "model", "modelId", "id", "object", "status", "stop_reason", "finish_reason", "stopReason",
     "finishReason", "tool_call_id", "tool_use_id", "toolUseId", "call_id", "item_id", "response_id", "responseId",
     "code", "service_tier", "effort", "reasoning_effort", "media_type", "mime_type", "mimeType", "format", "detail",
     "mode", "tool_choice", "verbosity", "truncation", "include", "modalities", "responseModalities", "betas", "ttl",
     "required", "$ref", "thinkingLevel", "display", "modelVersion", "execution", "phase", "provider", "upstream",
     "client", "usage", "losses"}
)  # fmt: skip
"""Members whose values are words of an API, where they look like one."""
_NAMED = frozenset(
    {"function", "tool", "tool_choice", "toolUse", "toolSpec", "functionCall", "functionResponse", "tools", "custom",
     "functionDeclarations", "json_schema"}
)  # fmt: skip
"""In these a ``name`` is a tool's; elsewhere it may be a person's."""
_CALLS = frozenset({"tool_use", "server_tool_use", "function_call", "custom_tool_call", "function", "tool", "custom"})
_FREE = frozenset({"input", "arguments", "args", "metadata"})
"""Objects whose members are not the API's: what a tool is given, what a client writes to itself."""
_KEY = re.compile(r"[A-Za-z_$][\w$-]*\Z")
_WORD = re.compile(r"[A-Za-z0-9_$#][A-Za-z0-9_.:/@#$+-]{0,127}\Z")
_LOWER = re.compile(r"[a-z_]+\Z")
"""As a reason to stop: a text at which a client has a model stop stands there, too."""
_UNREADABLE = re.compile(
    r"""\\u[0-9a-fA-F]{4}|\\.      # an escape, of JSON within a text
    |\b(?:true|false|null)\b       # its words
    |\d+(?:\.\d+)?(?:[eE][+-]?\d+)?
    |[^\W_]""",
    re.VERBOSE,
)
_SCHEME = re.compile(r"https?://|data:[\w/+.-]*;base64,")
_ROUTE = frozenset(
    {"provider", "client", "upstream", "options", "override", "quirks", "losses", "usage", "prefixes", "policies",
     "provider_conf", "max_request_bytes", "max_response_bytes"}
)  # fmt: skip
"""What of a route has a part in a translation."""
_HARMLESS = "prompt_decorator"
"""The policy whose texts may be unreadable, and it still does what it does."""
_REPEATED = ("llm_request", "llm_response_text", "members", "members_unknown")


def unreadable(text: str) -> str:
    """*text* with its shape alone."""
    scheme = _SCHEME.match(text)
    start = scheme.end() if scheme is not None else 0
    return text[:start] + _UNREADABLE.sub(_plain, text[start:])


def _plain(found: re.Match[str]) -> str:
    text = found[0]
    if text[0] == "\\" or text in ("true", "false", "null"):
        return text
    return re.sub(r"\d", "1", text) if text[0].isdecimal() else "x"


def redacted_value(value: Any, name: str = "", *, free: bool = False) -> Any:
    """A member's *value*, by its *name*. *free*: nothing within it is a word of the API's."""
    if isinstance(value, Mapping):
        return _redacted_object(value, name, free or name in _FREE)
    if isinstance(value, list):
        return [
            _redacted_object(each, name, free) if isinstance(each, Mapping) else redacted_value(each, name, free=free)
            for each in value
        ]
    if isinstance(value, str):
        return _redacted_string(value, name, free)
    if free and isinstance(value, int | float) and not isinstance(value, bool):
        return type(value)(unreadable(str(value)))
    return value


def _redacted_object(value: Mapping[str, Any], name: str, free: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, each in value.items():
        if key == "name" and not free and isinstance(each, str):
            tools = name in _NAMED or value.get("type") in _CALLS
            made[key] = each if tools and _WORD.match(each) else unreadable(each)
        else:
            inner = free or (name == "functionResponse" and key == "response")
            made[key if _KEY.match(key) else unreadable(key)] = redacted_value(each, key, free=inner)
    return made


def _redacted_string(value: str, name: str, free: bool) -> str:
    word = _LOWER if name == "stop_reason" else _WORD
    if not free and name in KEPT and word.match(value):
        return value
    if value[:1] in ("{", "["):
        try:
            # A tool's input as a text: its members' names are the tool's.
            return msgspec.json.encode(redacted_value(msgspec.json.decode(value), free=True)).decode()
        except (msgspec.DecodeError, RecursionError):
            pass
    return unreadable(value)


def redacted_text(text: str) -> str:
    """A body's *text*: of a stream each event's data is JSON, or each element of an array."""
    if text[:1] == "[" and (found := read(text.encode("utf-8", "replace"))).framing:
        return written(redacted_text(found.text), found.framing).decode()
    parts = EVENT_END.split(text)
    return "\n\n".join("\n".join(map(_line, event.splitlines())) for event in parts)


def _line(line: str) -> str:
    name, colon, data = line.partition(":")
    space = " " if data.startswith(" ") else ""
    data = data.removeprefix(" ")
    if name in ("event", "exception", "error") and _WORD.match(data):
        return line
    if name == "data" and data == "[DONE]":
        return line
    if name == "data":
        try:
            return f"data:{space}{msgspec.json.encode(redacted_value(msgspec.json.decode(data))).decode()}"
        except (msgspec.DecodeError, RecursionError):
            return f"data:{space}{unreadable(data)}"
    known = colon and name in ("event", "exception", "error", "id", "retry")
    return f"{name}:{space}{unreadable(data)}" if known else unreadable(line)


def redacted_bytes(body: bytes) -> bytes:
    """A body as ``redacted`` would have it: for what is made of one that is."""
    try:
        return msgspec.json.encode(redacted_value(msgspec.json.decode(body)))
    except (msgspec.DecodeError, RecursionError):
        return redacted_text(body.decode("utf-8", "replace")).encode()


def redacted(exchange: Captured) -> dict[str, Any]:
    """*exchange* with its shape alone."""
    made = {name: value for name, value in exchange.items() if name not in _REPEATED}
    if "llm_summary" in made:
        made["llm_summary"] = {**made["llm_summary"], "end_user_id": ""}
    if "payloads" in made:
        made["payloads"] = {side: _sides(shown) for side, shown in made["payloads"].items()}
    if "course" in made:
        course = dict(made["course"])
        course["request"] = {**course["request"], "path": _path(course["request"]["path"])}
        course["route"] = _route(course["route"])
        made["course"] = course
    return made


def _sides(side: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for way, shown in side.items():
        made[way] = dict(shown)
        if "body" in shown:
            made[way]["body"] = redacted_value(shown["body"])
        if "text" in shown:
            made[way]["text"] = redacted_text(shown["text"])
    return made


def _path(path: str) -> str:
    bare, question, query = path.partition("?")
    # What a parameter says is a word of the API's, or a person's.
    pairs = [pair if pair in ("alt=sse", "beta=true") else f"{pair.partition('=')[0]}=x" for pair in query.split("&")]
    return f"{bare}{question}{'&'.join(pairs)}" if question else path


def _route(said: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: redacted_value(value, name) for name, value in said.items() if name in _ROUTE - {"policies"}}
    if "endpoint" in made.get("override", {}):
        made["override"] = {**made["override"], "endpoint": NOWHERE}
    if "provider_conf" in made:
        made["provider_conf"] = dict.fromkeys(made["provider_conf"], "x")
    if policies := said.get("policies"):
        named = [(policy, str(next(iter(policy), "")) if isinstance(policy, Mapping) else "") for policy in policies]
        made["policies"] = [redacted_value(each) if name == _HARMLESS else name for each, name in named]
    return made
