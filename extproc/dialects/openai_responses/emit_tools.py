"""Tools and the choice among them, written for this API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from ...capabilities import Capabilities
from ...llm.request import Request, Tool, WebSearch
from ..base import Undo
from ..shared import freeform
from ..shared.naming import tool_name
from ..shared.openai_request import context_size, one_at_a_time
from ..shared.openai_schema import is_strict
from ..shared.schemas import repaired, rooted
from ..shared.tools import carried, check_choice, leave_out, renamed
from .emit_content import PartWriter
from .words import NAME

_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}}


class Tools(Struct):
    """What a request says of tools: the members to write, and what must be undone in the response."""

    members: dict[str, Any] = {}
    undo: Undo = Undo()


def write_tools(request: Request, row: Capabilities, called: Iterable[str], parts: PartWriter) -> Tools:
    """*called*: the names of the tools in the conversation so far, by the client's names. Raises Unsupported."""
    members = _ToolWriter(request, row, parts).write()
    custom = frozenset[str]() if row.custom_tools else freeform.names(request)
    return Tools(members, Undo(renamed(request, called), custom))


class _ToolWriter:
    def __init__(self, request: Request, row: Capabilities, parts: PartWriter) -> None:
        self._request = request
        self._choice = request.tool_choice
        self._row = row
        self._parts = parts
        self._losses = parts.losses

    def write(self) -> dict[str, Any]:
        writers = {"function": self._function, "custom": self._custom, "web_search": self._web_search}
        written, kinds = [], dict[str, dict[str, Any]]()
        for tool in self._request.tools:
            each = carried(self._request, tool, NAME, self._losses, writers)
            if each is not None:
                written.append(each)
                kinds[tool.name] = _choice_of(each)
        if not written:
            if self._choice.mode in ("required", "tool"):
                self._losses.dropped(self._request.path_of("tool_choice"), "there are no tools")
            return {}
        members: dict[str, Any] = {"tools": written}
        if (choice := self._tool_choice(kinds)) is not None:
            members["tool_choice"] = choice
        one_at_a_time(self._request, self._row, members, self._losses)
        return members

    # ---- the choice

    def _tool_choice(self, kinds: dict[str, dict[str, Any]]) -> Any:
        """The tools, on which caches depend, stay as they are, whatever the choice leaves of them."""
        choice = self._choice
        check_choice(self._request, kinds)
        if choice.mode in ("tool", "required") and len(choice.names) == 1:
            return kinds[choice.names[0]]
        mode = "required" if choice.mode == "tool" else choice.mode
        if mode in ("auto", "required") and choice.names and kinds.keys() - set(choice.names):
            return {"type": "allowed_tools", "mode": mode, "tools": [kinds[name] for name in choice.names]}
        return mode

    # ---- the tools

    def _function(self, tool: Tool) -> dict[str, Any]:
        self._parts.marks.dropped(tool.cache)
        self._losses.extra(tool.at, tool.extra)
        strict = False
        if tool.strict:
            # Optional properties are not made required: the model would have to invent their values.
            strict = self._row.strict_tools and tool.schema is not None and is_strict(tool.schema)
            if not strict:
                self._losses.dropped(f"{tool.at}.strict", "outside what the provider can enforce")
        schema, description = tool.schema, tool.description
        if schema is not None:
            schema = repaired(schema, openai=self._request.dialect != NAME)
            if not self._row.schema_choices:
                schema, description = rooted(tool, schema, self._losses, openai=True)
        return _function(tool, description or "", _NO_PARAMETERS if schema is None else schema, strict)

    def _custom(self, tool: Tool) -> dict[str, Any]:
        self._parts.marks.dropped(tool.cache)
        self._losses.extra(tool.at, tool.extra)
        if not self._row.custom_tools:
            return _function(tool, freeform.description(tool, self._losses), freeform.SCHEMA, strict=False)
        out: dict[str, Any] = {"type": "custom", "name": tool_name(tool.name)}
        if tool.description:
            out["description"] = tool.description
        if tool.grammar is not None:
            out["format"] = tool.grammar
        return out

    def _web_search(self, tool: Tool) -> dict[str, Any] | None:
        self._parts.marks.dropped(tool.cache)
        if not self._row.hosted_search:
            leave_out(self._request, tool, self._losses, "web search is", "this model does not search the web")
            return None
        search, out = tool.search or WebSearch(), dict[str, Any](type="web_search")
        if (size := context_size(tool, self._losses)) is not None:
            out["search_context_size"] = size
        if search.user_location:
            out["user_location"] = {"type": "approximate", **search.user_location}
        self._losses.extra(tool.at, tool.extra)
        return out


def _function(tool: Tool, description: str, schema: dict[str, Any], strict: bool) -> dict[str, Any]:
    """``strict`` is always said: left out, this API is strict, and makes optional properties required."""
    out: dict[str, Any] = {"type": "function", "name": tool_name(tool.name)}
    if description:
        out["description"] = description
    return out | {"parameters": schema, "strict": strict}


def _choice_of(written: dict[str, Any]) -> dict[str, Any]:
    """How a choice names a tool: by its name, or one that the provider runs by its type."""
    kind = written["type"]
    return {"type": kind, "name": written["name"]} if kind in ("function", "custom") else {"type": kind}
