"""Tools and the choice among them, written for the Chat API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.request import Request, Tool, WebSearch
from ..shared import freeform
from ..shared.naming import tool_name
from ..shared.openai_schema import is_strict
from ..shared.schemas import repaired
from ..shared.tools import allowed
from .emit_parts import PartWriter
from .vocabulary import NAME


class Tools(Struct):
    """What a request says of tools: the members to write, and what must be undone in the response."""

    members: dict[str, Any] = {}
    names: dict[str, str] = {}
    """As sent -> as the client knows them, where they differ."""
    custom: frozenset[str] = frozenset()
    """Free-form tools that went as functions."""


def write_tools(request: Request, row: Capabilities, called: Iterable[str], parts: PartWriter) -> Tools:
    """*called*: the names of the tools in the conversation so far, by the client's names. Raises Unsupported."""
    writer = _ToolWriter(request, row, parts)
    out = Tools(writer.write())
    everyone = [*(tool.name for tool in request.tools), *called]
    out.names = {sent: name for name in everyone if (sent := tool_name(name)) != name}
    if not row.custom_tools:
        out.custom = frozenset(tool.name for tool in request.tools if tool.kind == "custom")
    return out


class _ToolWriter:
    def __init__(self, request: Request, row: Capabilities, parts: PartWriter) -> None:
        self._request = request
        self._choice = request.tool_choice
        self._row = row
        self._parts = parts
        self._losses = parts.losses

    def write(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        written, kinds = [], dict[str, str]()
        left = allowed(self._request, self._losses)
        for tool in self._request.tools:
            if tool.kind == "web_search":
                self._web_search(tool, members)
            elif (left is None or tool.name in left) and (each := self._tool(tool)) is not None:
                written.append(each)
                kinds[tool.name] = tool.kind
        if written:
            members["tools"] = written
            if (choice := self._tool_choice(kinds)) is not None:
                members["tool_choice"] = choice
            self._parallel(members)
        elif self._choice.mode in ("required", "tool"):
            self._losses.dropped(self._request.path_of("tool_choice"), "there are no tools")
        return members

    # ---- the choice

    def _tool_choice(self, kinds: dict[str, str]) -> Any:
        choice = self._choice
        if choice.mode in ("tool", "required") and len(choice.names) == 1:
            custom = kinds.get(choice.names[0]) == "custom" and self._row.custom_tools
            kind = "custom" if custom else "function"
            return {"type": kind, kind: {"name": tool_name(choice.names[0])}}
        return "required" if choice.mode == "tool" else choice.mode

    def _parallel(self, members: dict[str, Any]) -> None:
        if self._choice.parallel is not False:
            return
        if self._row.parallel_tool_calls:
            members["parallel_tool_calls"] = False
        else:
            self._losses.dropped(self._request.path_of("parallel"))

    def _wanted(self, tool: Tool) -> bool:
        """Whether the request makes no sense without *tool*: there is no other, or it must be called."""
        forced = self._choice.mode in ("required", "tool") and tool.name in self._choice.names
        return forced or len(self._request.tools) == 1

    # ---- the tools

    def _tool(self, tool: Tool) -> dict[str, Any] | None:
        """``None`` for a tool that cannot be carried."""
        if tool.kind == "function":
            return self._function(tool)
        if tool.kind == "custom":
            return self._custom(tool)
        if tool.dialect == NAME and tool.native is not None:
            return tool.native
        if self._wanted(tool):
            raise Unsupported(tool.at, f"the tool {tool.name!r} is not supported for this model")
        self._losses.dropped(tool.at, "a tool that another provider runs")
        return None

    def _function(self, tool: Tool) -> dict[str, Any]:
        self._parts.cached(tool.cache)
        self._losses.extra(tool.at, tool.extra)
        function: dict[str, Any] = {"name": tool_name(tool.name)}
        if tool.description:
            function["description"] = tool.description
        if tool.schema is not None:
            function["parameters"] = repaired(tool.schema, openai=self._request.dialect != NAME)
        if tool.strict:
            # Optional properties are not made required: the model would have to invent their values.
            if self._row.strict_tools and tool.schema is not None and is_strict(tool.schema):
                function["strict"] = True
            else:
                self._losses.dropped(f"{tool.at}.strict", "outside what the provider can enforce")
        return {"type": "function", "function": function}

    def _custom(self, tool: Tool) -> dict[str, Any]:
        self._parts.cached(tool.cache)
        self._losses.extra(tool.at, tool.extra)
        if not self._row.custom_tools:
            return _wrapped(tool, freeform.description(tool, self._losses))
        custom: dict[str, Any] = {"name": tool_name(tool.name)}
        if tool.description:
            custom["description"] = tool.description
        if tool.grammar is not None:
            inner = {name: value for name, value in tool.grammar.items() if name != "type"}
            custom["format"] = {"type": "grammar", "grammar": inner}
        return {"type": "custom", "custom": custom}

    def _web_search(self, tool: Tool, members: dict[str, Any]) -> None:
        self._parts.cached(tool.cache)
        if not self._row.web_search:
            if self._wanted(tool):
                raise Unsupported(tool.at, "web search is not supported for this model")
            self._losses.dropped(tool.at, "this model does not search the web")
            return
        search, options = tool.search or WebSearch(), dict[str, Any]()
        if search.context_size is not None:
            options["search_context_size"] = search.context_size
        elif search.max_uses is not None:
            options["search_context_size"] = _context_size(search.max_uses)
            self._losses.rewritten(f"{tool.at}.max_uses", f"to search_context_size {options['search_context_size']}")
        if search.user_location:
            options["user_location"] = {"type": "approximate", "approximate": search.user_location}
        self._losses.extra(tool.at, tool.extra)
        members["web_search_options"] = options


def _wrapped(tool: Tool, description: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool_name(tool.name)}
    if description:
        function["description"] = description
    return {"type": "function", "function": function | {"parameters": freeform.SCHEMA}}


def _context_size(max_uses: int) -> str:
    if max_uses <= 1:
        return "low"
    return "medium" if max_uses <= 5 else "high"
