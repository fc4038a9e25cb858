"""Tools and the choice among them, read from a Gemini request."""

from __future__ import annotations

from typing import Any, Final

from ...llm.failures import ProtocolError
from ...llm.request import Member, Tool, ToolChoice
from .schema import to_json_schema
from .words import NAME, GeminiFields

_MODES: Final[dict[str, Any]] = {
    "MODE_UNSPECIFIED": None, "AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto",
}  # fmt: skip
_SEARCHES = ("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch")


def read_tools(values: Any, at: str) -> list[Tool]:
    """Raises ProtocolError."""
    tools: list[Tool] = []
    if type(values) is dict:
        values = [values]  # the API takes one alone as well
    if type(values) is not list:
        raise ProtocolError(at, "expected an array")
    for i, value in enumerate(values):
        tools += _group(GeminiFields(value, f"{at}[{i}]"))
    return tools


def _group(fields: GeminiFields) -> list[Tool]:
    """One element of ``tools``: functions, and the provider's own, each by its name."""
    functions = fields.take("functionDeclarations", list, [])
    at = fields.at("functionDeclarations")
    tools = [_function(value, f"{at}[{i}]") for i, value in enumerate(functions)]
    for name, value in fields.left().items():
        plain = GeminiFields({name: value}, "").rest() or {}
        kind = next(iter(plain))
        native = {name: value}
        if kind in _SEARCHES:
            tools.append(Tool("web_search", "web_search", native=native, dialect=NAME, at=f"{fields.path}.{name}"))
        else:
            tools.append(Tool(kind, "provider", native=native, dialect=NAME, at=f"{fields.path}.{name}"))
    return tools


def _function(value: Any, at: str) -> Tool:
    fields = GeminiFields(value, at)
    name, description = fields.take("name", str), fields.maybe("description", str)
    schema = fields.any("parametersJsonSchema")
    if type(schema) is not dict:
        parameters = fields.maybe("parameters", dict)
        schema = to_json_schema(parameters) if parameters is not None else None
    else:
        fields.ignore("parameters")
    return Tool(name, description=description, schema=schema, dialect=NAME, at=at, extra=fields.left() or None)


def read_choice(value: Any, at: str, tools: list[Tool], extra: dict[str, Member]) -> ToolChoice:
    """Raises ProtocolError."""
    if value is None:
        return ToolChoice()
    config = GeminiFields(value, at)
    calling = config.maybe("functionCallingConfig", dict)
    for name, member in config.left().items():
        extra[f"{at}.{name}"] = Member(member, f"{at}.{name}")
    if calling is None:
        return ToolChoice()
    choice = GeminiFields(calling, config.at("functionCallingConfig"))
    named = choice.take("mode", str, "MODE_UNSPECIFIED").upper()
    if named not in _MODES:
        raise ProtocolError(choice.at("mode"), f"expected AUTO, ANY, NONE or VALIDATED, got {named!r}")
    mode, names = _MODES[named], choice.take("allowedFunctionNames", list, [])
    known = {tool.name for tool in tools}
    for i, name in enumerate(names):
        if type(name) is not str or name not in known:
            path = f"{choice.at('allowedFunctionNames')}[{i}]"
            raise ProtocolError(path, f"names {name!r}, which is not among the functions")
    for name, member in choice.left().items():
        extra[choice.at(name)] = Member(member, choice.at(name))
    if mode in (None, "none"):
        return ToolChoice(mode)
    if mode == "required" and len(names) == 1:
        mode = "tool"
    return ToolChoice(mode, names)
