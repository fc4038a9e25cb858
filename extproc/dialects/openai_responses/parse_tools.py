"""Tools and the choice among them, read. Those of a namespace become tools of their own, under flat names."""

from __future__ import annotations

from typing import Any, Final

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import Member, Tool, ToolChoice, WebSearch
from ..shared.members import keep_rest
from ..shared.openai_schema import is_strict
from .names import SEARCH, ToolNames
from .words import NAME

_STORED: Final = frozenset({"file_search", "mcp"})
"""Tools that reach what is kept for the client at its provider, or by its provider: another one has nothing of it."""
_CHOICES = ("auto", "none", "required")


def read_tools(values: list[Any], at: str, names: ToolNames, extra: dict[str, Member]) -> list[Tool]:
    """The tools in the array at *at*; what belongs to none of them goes into *extra*."""
    tools: list[Tool] = []
    for i, value in enumerate(values):
        tools += _tools(value, f"{at}[{i}]", names, extra)
    return tools


def _tools(value: Any, at: str, names: ToolNames, extra: dict[str, Member]) -> list[Tool]:
    # A response repeats the tools: they stay as they are.
    fields = Fields(dict(value) if type(value) is dict else value, at)
    kind = fields.take("type", str)
    if kind == "namespace":
        return _namespace(fields, names, extra)
    if kind == "function":
        return [_function(fields, names, "", extra)]
    if kind == "custom":
        return [_custom(fields, names, "", extra)]
    if kind.startswith("web_search"):
        return [_web_search(fields, value)]
    if kind == SEARCH and value.get("execution") == "client":
        names.searches = True
        return [_search(fields)]
    if kind in _STORED:
        problem = f"{at}: a tool of type {kind} is not supported for this model"
        extra[at] = Member(value, at, essential=True, problem=problem, code="unsupported_value")
    name = value.get("name")
    return [Tool(name if type(name) is str else kind, "provider", native=value, dialect=NAME, at=at)]


def _namespace(fields: Fields, names: ToolNames, extra: dict[str, Member]) -> list[Tool]:
    namespace, at = fields.take("name", str), fields.at("tools")
    tools: list[Tool] = []
    for i, value in enumerate(fields.take("tools", list)):
        inner = Fields(dict(value) if type(value) is dict else value, f"{at}[{i}]")
        kind = inner.take("type", str)
        if kind not in ("function", "custom"):
            raise ProtocolError(inner.at("type"), f"expected function or custom, got {kind!r}")
        read = _function if kind == "function" else _custom
        tools.append(read(inner, names, namespace, extra))
    for name, member in (fields.rest() or {}).items():
        if member != "":
            extra[fields.at(name)] = Member(member, fields.at(name))
    return tools


def _function(fields: Fields, names: ToolNames, namespace: str, extra: dict[str, Member]) -> Tool:
    name, description = fields.take("name", str), fields.maybe("description", str)
    schema, strict = fields.maybe("parameters", dict), fields.maybe("strict", bool)
    if strict is None and schema is not None:
        # Left out, the provider is strict as far as the schema lets it be.
        strict = is_strict(schema) or None
    _callers(fields, extra)
    return Tool(
        names.flat(name, namespace),
        description=description,
        schema=schema,
        strict=strict,
        dialect=NAME,
        at=fields.path,
        extra=fields.rest(),
    )


def _custom(fields: Fields, names: ToolNames, namespace: str, extra: dict[str, Member]) -> Tool:
    name, description = fields.take("name", str), fields.maybe("description", str)
    form = fields.maybe("format", dict)
    grammar = None if form is None or form.get("type") == "text" else form
    _callers(fields, extra)
    flat = names.flat(name, namespace)
    return Tool(flat, "custom", description, grammar=grammar, dialect=NAME, at=fields.path, extra=fields.rest())


def _callers(fields: Fields, extra: dict[str, Member]) -> None:
    """Takes members that say no more than the default. A tool that only code in the provider's sandbox may call could
    never be called elsewhere."""
    if fields.lenient("defer_loading", bool, False):
        path = fields.at("defer_loading")
        extra[path] = Member(True, path)
    callers = fields.maybe("allowed_callers", list)
    if callers and "direct" not in callers:
        path = fields.at("allowed_callers")
        problem = f"{path}: a tool that only code may call is not supported for this model"
        extra[path] = Member(callers, path, essential=True, problem=problem, code="unsupported_value")


def _web_search(fields: Fields, native: dict[str, Any]) -> Tool:
    if native.get("external_web_access") is False:
        # A search of what the provider has kept: another one's would go out into the web.
        return Tool("web_search", "provider", native=native, dialect=NAME, at=fields.path)
    fields.ignore("external_web_access")
    size, location = fields.maybe("search_context_size", str), fields.maybe("user_location", dict)
    place = {name: value for name, value in (location or {}).items() if name != "type" and value is not None}
    search = WebSearch(size, user_location=place or None)
    return Tool(
        "web_search", "web_search", search=search, native=native, dialect=NAME, at=fields.path, extra=fields.rest()
    )


def _search(fields: Fields) -> Tool:
    """A search for tools that the client itself carries out is to other APIs one of its functions."""
    fields.ignore("execution")
    description, schema = fields.maybe("description", str), fields.maybe("parameters", dict)
    return Tool(SEARCH, description=description, schema=schema, dialect=NAME, at=fields.path, extra=fields.rest())


# ---- the choice


def read_choice(fields: Fields, tools: list[Tool], names: ToolNames, extra: dict[str, Member]) -> ToolChoice:
    """Takes ``tool_choice`` and ``parallel_tool_calls``."""
    parallel = fields.maybe("parallel_tool_calls", bool)
    value = fields.any("tool_choice")
    if value is None:
        return ToolChoice(parallel=parallel)
    if type(value) is str:
        if value not in _CHOICES:
            raise ProtocolError("tool_choice", f"expected {', '.join(_CHOICES)} or an object, got {value!r}")
        return ToolChoice(value, parallel=parallel)  # type: ignore[arg-type]
    if type(value) is not dict:
        raise ProtocolError("tool_choice", f"expected a string or an object, got {json_type(value)}")
    choice, known = Fields(dict(value), "tool_choice"), {tool.name: tool for tool in tools}
    kind = choice.take("type", str)
    if kind == "allowed_tools":
        mode: Any = choice.take("mode", str, "auto")
        if mode not in ("auto", "required"):
            raise ProtocolError("tool_choice.mode", f"expected auto or required, got {mode!r}")
        allowed = _allowed(choice.take("tools", list), known, names)
        keep_rest(choice, extra)
        return ToolChoice(mode, allowed, parallel)
    if kind not in ("function", "custom"):
        problem = f"tool_choice of type {kind} is not supported for this model"
        extra["tool_choice"] = Member(value, "tool_choice", essential=True, problem=problem, code="unsupported_value")
        return ToolChoice(parallel=parallel)
    name = _named(choice, known, names)
    keep_rest(choice, extra)
    return ToolChoice("tool", [name], parallel)


def _named(choice: Fields, known: dict[str, Tool], names: ToolNames) -> str:
    """The flat name of the one tool that *choice* names."""
    name = names.flat(choice.take("name", str), choice.take("namespace", str, ""))
    if name not in known:
        raise ProtocolError(choice.path, f"names {name!r}, which is not among the tools")
    return name


def _allowed(values: list[Any], known: dict[str, Tool], names: ToolNames) -> list[str]:
    found: dict[str, None] = {}
    for i, value in enumerate(values):
        each = Fields(dict(value) if type(value) is dict else value, f"tool_choice.tools[{i}]")
        kind = each.take("type", str, "function")
        if kind in ("function", "custom"):
            found[_named(each, known, names)] = None
        elif kind == "namespace":
            found |= dict.fromkeys(names.within(each.take("name", str)))
        else:
            # A tool that the provider runs: if it is carried at all, it has its type for a name.
            name = "web_search" if kind.startswith("web_search") else kind
            if name in known and known[name].kind != "function":
                found[name] = None
    if not found:
        raise ProtocolError("tool_choice.tools", "at least one tool is required")
    return list(found)
