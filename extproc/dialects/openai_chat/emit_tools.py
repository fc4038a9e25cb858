"""Tools and the choice among them, written for the Chat API."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from ...capabilities import Capabilities
from ...llm.request import Request, Tool, WebSearch
from ..shared import freeform
from ..shared.known_tools import KNOWN
from ..shared.naming import tool_name
from ..shared.openai_request import context_size, one_at_a_time
from ..shared.openai_schema import is_strict
from ..shared.schemas import repaired, rooted
from ..shared.tools import allowed, carried, leave_out, renamed
from .emit_parts import PartWriter
from .vocabulary import NAME


class Tools(Struct):
    """What a request says of tools: the members to write, and what must be undone in the response."""

    members: dict[str, Any] = {}
    names: dict[str, str] = {}
    """As sent -> as the client knows them, where they differ."""
    custom: frozenset[str] = frozenset()
    """Free-form tools that went as functions."""
    sent: list[str] = []
    """The names of those that are written, as sent."""


def write_tools(request: Request, row: Capabilities, called: Collection[str], parts: PartWriter) -> Tools:
    """*called*: the names of the tools in the conversation so far, by the client's names. Raises Unsupported."""
    if not (request.tools or called or request.tool_choice.mode or request.tool_choice.names):
        return Tools()
    writer = _ToolWriter(request, row, parts)
    out = Tools(writer.write())
    out.sent = writer.sent
    out.names = renamed(request, called)
    if not row.custom_tools:
        out.custom = freeform.names(request)
    return out


class _ToolWriter:
    def __init__(self, request: Request, row: Capabilities, parts: PartWriter) -> None:
        self._request = request
        self._choice = request.tool_choice
        self._row = row
        self._parts = parts
        self._losses = parts.losses
        self.sent: list[str] = []

    def write(self) -> dict[str, Any]:
        writers = {"function": self._function, "custom": self._custom}
        members: dict[str, Any] = {}
        written, kinds = [], dict[str, str]()
        left = allowed(self._request, self._losses)
        for tool in self._request.tools:
            if tool.kind == "web_search":
                self._web_search(tool, members)
            elif (left is None or tool.name in left) and (
                each := carried(self._request, tool, NAME, self._losses, writers)
            ) is not None:
                written.append(each)
                self._name(tool, each)
                kinds[tool.name] = tool.kind
        if written:
            members["tools"] = written
            if (choice := self._tool_choice(kinds)) is not None:
                members["tool_choice"] = choice
            one_at_a_time(self._request, self._row, members, self._losses)
        elif self._choice.mode in ("required", "tool"):
            self._losses.dropped(self._request.path_of("tool_choice"), "there are no tools")
        return members

    def _name(self, tool: Tool, written: Any) -> None:
        if tool.kind in ("function", "custom"):
            self.sent.append(tool_name(tool.name))
            return
        inner = written.get("function") or written.get("custom") or {}
        if type(name := inner.get("name")) is str:
            self.sent.append(name)

    # ---- the choice

    def _tool_choice(self, kinds: dict[str, str]) -> Any:
        choice = self._choice
        if choice.mode in ("tool", "required") and len(choice.names) == 1:
            custom = kinds.get(choice.names[0]) == "custom" and self._row.custom_tools
            kind = "custom" if custom else "function"
            return {"type": kind, kind: {"name": tool_name(choice.names[0])}}
        return "required" if choice.mode == "tool" else choice.mode

    # ---- the tools

    def _function(self, tool: Tool) -> Any:
        how = NAME, self._row.schema_choices, self._request.dialect == NAME
        known = KNOWN.written(tool, how)
        if known is not None:
            return known
        mark = self._parts.marks.on_tool(tool.cache)
        self._losses.extra(tool.at, tool.extra)
        function: dict[str, Any] = {"name": tool_name(tool.name)}
        schema, description = tool.schema, tool.description
        is_alone = tool.cache is None and not tool.extra and not tool.strict
        if schema is not None:
            fitting = schema = repaired(schema, openai=self._request.dialect != NAME)
            if not self._row.schema_choices:
                schema, description = rooted(tool, schema, self._losses, openai=True)
                is_alone = is_alone and schema is fitting
        if description:
            function["description"] = description
        if schema is not None:
            function["parameters"] = schema
        if tool.strict:
            # Optional properties are not made required: the model would have to invent their values.
            if self._row.strict_tools and tool.schema is not None and is_strict(tool.schema):
                function["strict"] = True
            else:
                self._losses.dropped(f"{tool.at}.strict", "outside what the provider can enforce")
        made = {"type": "function", "function": function, **mark}
        return KNOWN.note(tool, how, made) if is_alone else made

    def _custom(self, tool: Tool) -> dict[str, Any]:
        mark = self._parts.marks.on_tool(tool.cache)
        self._losses.extra(tool.at, tool.extra)
        if not self._row.custom_tools:
            return _wrapped(tool, freeform.description(tool, self._losses)) | mark
        custom: dict[str, Any] = {"name": tool_name(tool.name)}
        if tool.description:
            custom["description"] = tool.description
        if tool.grammar is not None:
            inner = {name: value for name, value in tool.grammar.items() if name != "type"}
            custom["format"] = {"type": "grammar", "grammar": inner}
        return {"type": "custom", "custom": custom, **mark}

    def _web_search(self, tool: Tool, members: dict[str, Any]) -> None:
        self._parts.marks.dropped(tool.cache)
        if not self._row.web_search:
            leave_out(self._request, tool, self._losses, "web search is", "this model does not search the web")
            return
        search, options = tool.search or WebSearch(), dict[str, Any]()
        if (size := context_size(tool, self._losses)) is not None:
            options["search_context_size"] = size
        if search.user_location:
            options["user_location"] = {"type": "approximate", "approximate": search.user_location}
        self._losses.extra(tool.at, tool.extra)
        members["web_search_options"] = options


def _wrapped(tool: Tool, description: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool_name(tool.name)}
    if description:
        function["description"] = description
    return {"type": "function", "function": function | {"parameters": freeform.SCHEMA}}
