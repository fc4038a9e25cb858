"""A Chat request's tools and the choice among them, read; the older ``functions`` too."""

from __future__ import annotations

from typing import Any, Final

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ...llm.request import CacheMarker, Member, Tool, ToolChoice, WebSearch
from ..shared import anthropic
from ..shared.members import keep_rest
from ..shared.openai import cache_marker
from ..shared.schemas import schema_object
from .vocabulary import NAME

_OURS: Final = frozenset({"function", "parameters", "custom", "format"})
_CHOICES: Final[dict[str, Any]] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
"""``any`` is Anthropic's word."""


def read_tools(fields: Fields, extra: dict[str, Member]) -> tuple[list[Tool], bool]:
    """Takes ``tools``, ``functions`` and ``web_search_options``. The tools, and whether they are of the older kind."""
    tools = [_tool(value, f"tools[{i}]", extra) for i, value in enumerate(fields.take("tools", list, []))]
    functions = fields.take("functions", list, [])
    if tools and functions:
        raise ProtocolError("functions", "cannot stand beside tools")
    for i, value in enumerate(functions):
        tools.append(_function(Fields(value, f"functions[{i}]")))
    if "web_search_options" in fields:
        tools.append(_web_search(Fields(fields.any("web_search_options"), "web_search_options")))
    return tools, bool(functions)


def _tool(value: Any, at: str, extra: dict[str, Member]) -> Tool:
    native = dict(value) if type(value) is dict else {}
    if _OURS.isdisjoint(native) and "name" in native and ("input_schema" in native or _is_anthropics(native)):
        # As editors that had Claude in mind write it.
        return anthropic.tool(value, at)
    fields = Fields(value, at)
    named = "function" in native or ("name" in native and "parameters" in native)
    kind = fields.take("type", str, "function" if named else "")
    if not kind:
        raise ProtocolError(f"{at}.type", "is missing")
    if kind == "custom":
        return _custom(fields)
    if kind != "function":
        name = fields.lenient("name", str, kind)
        return Tool(name, "provider", native=native, dialect=NAME, at=at)
    cache = cache_marker(fields)
    if "function" not in native and "name" in native:
        # Flat, as the Responses API writes it.
        return _function(fields, cache)
    tool = _function(Fields(fields.take("function", dict), f"{at}.function"), cache)
    keep_rest(fields, extra)
    return tool


def _is_anthropics(tool: dict[str, Any]) -> bool:
    return type(kind := tool.get("type")) is str and anthropic.OWN_TOOL.match(kind) is not None


def _function(function: Fields, cache: CacheMarker | None = None) -> Tool:
    return Tool(
        function.take("name", str),
        description=function.maybe("description", str),
        schema=schema_object(function, "parameters"),
        strict=function.maybe("strict", bool),
        dialect=NAME,
        at=function.path,
        cache=cache or cache_marker(function),
        extra=function.rest(),
    )


def _custom(fields: Fields) -> Tool:
    cache = cache_marker(fields)
    # Flat, as the Responses API writes it, or nested.
    custom = Fields(fields.take("custom", dict), fields.at("custom")) if "custom" in fields else fields
    name, description = custom.take("name", str), custom.maybe("description", str)
    form = custom.maybe("format", dict)
    grammar = None
    if form is not None and form.get("type") != "text":
        # Flat, as the Responses API writes it.
        inner = form.get("grammar")
        grammar = {"type": "grammar", **inner} if type(inner) is dict else form
    extra = {**(fields.rest() or {}), **(custom.rest() or {})}
    return Tool(
        name, "custom", description, grammar=grammar, dialect=NAME, at=fields.path, cache=cache, extra=extra or None
    )


def _web_search(options: Fields) -> Tool:
    size, location = options.maybe("search_context_size", str), options.maybe("user_location", dict)
    place = location.get("approximate", location) if location else None
    if place is not None and type(place) is not dict:
        raise ProtocolError(options.at("user_location.approximate"), f"expected an object, got {json_type(place)}")
    flat = {k: v for k, v in (place or {}).items() if k != "type" and v is not None}
    search = WebSearch(size, user_location=flat or None)
    extra = options.rest() or {}
    if location and place is not location:
        extra |= {f"user_location.{k}": v for k, v in location.items() if k not in ("type", "approximate")}
    return Tool("web_search", "web_search", search=search, dialect=NAME, at=options.path, extra=extra or None)


def read_choice(
    fields: Fields, tools: list[Tool], at: dict[str, str], losses: LossReport, *, legacy: bool
) -> ToolChoice:
    """Takes ``tool_choice``, ``function_call`` and ``parallel_tool_calls``."""
    parallel = fields.maybe("parallel_tool_calls", bool)
    chosen, older = fields.any("tool_choice"), fields.any("function_call")
    if chosen is None:
        chosen, word = older, "function_call"
    else:
        word = "tool_choice"
        if older is not None:
            losses.dropped("function_call", "tool_choice is there as well")
    if word == "function_call" and (legacy or older is not None):
        at["tool_choice"] = "function_call"
    if legacy:
        # One function_call is all that a message of the older shape can hold.
        parallel = False
    at["parallel"] = "functions" if legacy else "parallel_tool_calls"
    if type(chosen) is dict and chosen.pop("disable_parallel_tool_use", None) is True and parallel is None:
        parallel = False  # Anthropic's way to say it
    mode, names = _mode(chosen, word, losses)
    known = {tool.name for tool in tools}
    for name in names:
        if name not in known:
            raise ProtocolError(word, f"names {name!r}, which is not among the tools")
    return ToolChoice(mode, names, parallel)


def _mode(chosen: Any, at: str, losses: LossReport) -> tuple[Any, list[str]]:
    if chosen is None:
        return None, []
    if type(chosen) is str:
        if (word := _CHOICES.get(chosen)) is None:
            raise ProtocolError(at, f"expected auto, none, required or an object, got {chosen!r}")
        return word, []
    choice = Fields(chosen, at)
    mode, names = _mode_of(choice, losses)
    losses.extra(at, choice.rest())
    return mode, names


def _mode_of(choice: Fields, losses: LossReport) -> tuple[Any, list[str]]:
    at = choice.path
    if at == "function_call":
        return "tool", [choice.take("name", str)]
    kind = choice.take("type", str)
    if kind == "allowed_tools":
        # The reference nests it; the guide on function calling shows it flat.
        allowed = Fields(choice.any("allowed_tools"), f"{at}.allowed_tools") if "allowed_tools" in choice else choice
        mode = allowed.take("mode", str, "auto")
        if mode not in ("auto", "required"):
            raise ProtocolError(allowed.at("mode"), f"expected auto or required, got {mode!r}")
        values = allowed.take("tools", list)
        named = [Fields(value, f"{allowed.path}.tools[{i}]") for i, value in enumerate(values)]
        names = [_named(tool, tool.take("type", str, "function")) for tool in named]
        if not names:
            raise ProtocolError(allowed.at("tools"), "at least one tool is required")
        return mode, names
    if kind in _CHOICES:
        return _CHOICES[kind], []
    if kind not in ("function", "custom", "tool"):
        raise ProtocolError(f"{at}.type", f"expected function, custom or allowed_tools, got {kind!r}")
    if kind not in choice:
        return "tool", [choice.take("name", str)]
    inner = Fields(choice.any(kind), choice.at(kind))
    name = inner.take("name", str)
    losses.extra(inner.path, inner.rest())
    return "tool", [name]


def _named(tool: Fields, kind: str) -> str:
    """The name of a tool of *kind*, nested or flat."""
    return Fields(tool.any(kind), tool.at(kind)).take("name", str) if kind in tool else tool.take("name", str)
