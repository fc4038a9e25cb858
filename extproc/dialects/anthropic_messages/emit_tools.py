"""Tools and the choice among them, written for the Messages API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Request, Tool
from ..shared import claude_schema as subset
from ..shared import freeform
from ..shared.naming import tool_name
from ..shared.schemas import repaired, rooted
from ..shared.tools import allowed, leave_out, renamed
from .emit_blocks import with_cache
from .vocabulary import FAMILY, NAME, OWN_TOOL, TOOL_BETAS

MAX_STRICT_TOOLS: Final = 20
SEARCH: Final = "web_search"
"""What the provider's own search is called."""
MAX_USES: Final = {"low": 1, "medium": 5, "high": 10}
"""How often the model may search, for OpenAI's ``search_context_size``."""


class Tools(Struct):
    """What a request says of tools, and what must be undone in the response."""

    tools: list[dict[str, Any]] = []
    choice: dict[str, Any] | None = None
    forced: bool = False
    betas: list[str] = []
    names: dict[str, str] = {}
    """As sent -> as the client knows them, where they differ."""
    custom: frozenset[str] = frozenset()
    keys: dict[str, dict[str, str]] = {}
    """By tool: members of its input, as sent -> as the client knows them, where they differ."""


def write_tools(request: Request, row: Capabilities, called: Iterable[str], losses: LossReport) -> Tools:
    """*called*: the names of the tools in the conversation so far, by the client's names. Raises Unsupported."""
    writer = _ToolWriter(request, losses)
    out = Tools()
    names = allowed(request, losses)
    for tool in _distinct(request, losses):
        if (names is None or tool.name in names) and (written := writer.write(tool)) is not None:
            out.tools.append(written)
            if tool.name in writer.keys:
                out.keys |= subset.undone({tool.name: writer.keys[tool.name]})
            if (beta := TOOL_BETAS.get(str(written.get("type")))) is not None:
                out.betas.append(beta)
    out.custom = freeform.names(request)
    called = list(called)
    if not out.tools and called:
        # The API refuses a history of calls without the definitions of their tools.
        out.tools = [{"name": tool_name(name), "input_schema": {"type": "object"}} for name in called]
        out.choice = {"type": "none"}
        losses.add(request.path_of("tools"), Action.SYNTHESIZED, "the history calls tools that are not defined")
    elif out.tools:
        out.choice = _choice(request, row, losses)
        out.forced = out.choice is not None and out.choice["type"] in ("any", "tool")
    elif request.tool_choice.mode in ("required", "tool"):
        losses.dropped(request.path_of("tool_choice"), "there are no tools")
    out.names = renamed(request, called)
    return out


def _distinct(request: Request, losses: LossReport) -> list[Tool]:
    """The tools without those whose name another one has: this API refuses a request with two of one name. A client's
    own tool goes before one that the provider would run."""
    kept: dict[str, Tool] = {}
    for tool in request.tools:
        name = tool_name(SEARCH if tool.kind == "web_search" and not _own(tool) else tool.name)
        other = kept.get(name)
        if other is None:
            kept[name] = tool
        elif tool.kind == "function" and other.kind != "function":
            kept[name] = tool
            losses.dropped(other.at, f"another tool is called {name}")
        else:
            losses.dropped(tool.at, f"another tool is called {name}")
    return list(kept.values())


def _choice(request: Request, row: Capabilities, losses: LossReport) -> dict[str, Any] | None:
    choice = request.tool_choice
    out: dict[str, Any]
    if choice.mode == "none":
        return {"type": "none"}
    if choice.mode in ("required", "tool"):
        if not row.forced_tool:
            losses.add(request.path_of("tool_choice"), Action.DOWNGRADED, "this model cannot be made to call a tool")
            out = {"type": "auto"}
        elif len(choice.names) == 1:
            out = {"type": "tool", "name": tool_name(choice.names[0])}
        else:
            out = {"type": "any"}
    elif choice.mode == "auto" or choice.parallel is False:
        out = {"type": "auto"}
    else:
        return None
    if choice.parallel is False:
        out["disable_parallel_tool_use"] = True
    return out


class _ToolWriter:
    def __init__(self, request: Request, losses: LossReport) -> None:
        self._request = request
        self._losses = losses
        self.keys = subset.input_names(request.tools)
        self._strict = self._optional = self._unions = 0

    def write(self, tool: Tool) -> dict[str, Any] | None:
        """``None`` for a tool that cannot be carried."""
        match tool.kind:
            case "function":
                return self._function(tool)
            case "custom":
                return self._custom(tool)
            case "web_search":
                return self._web_search(tool)
            case _:
                return self._native(tool)

    def _function(self, tool: Tool) -> dict[str, Any]:
        out: dict[str, Any] = {"name": tool_name(tool.name)}
        schema, description = rooted(tool, _input_schema(tool), self._losses)
        if description:
            out["description"] = description
        out["input_schema"] = self._renamed(tool, schema)
        if tool.strict:
            if self._strict_fits(out["input_schema"]):
                out["strict"] = True
            else:
                self._losses.dropped(f"{tool.at}.strict", "outside what the provider can enforce")
        if tool.extra:
            if self._request.dialect in FAMILY:
                out |= tool.extra
            else:
                self._losses.extra(tool.at, tool.extra)
        return with_cache(out, tool.cache)

    def _renamed(self, tool: Tool, schema: dict[str, Any]) -> dict[str, Any]:
        if (names := self.keys.get(tool.name)) is None:
            return schema
        self._losses.rewritten(tool.at, "names of properties, to the characters that the API takes")
        return subset.with_names(schema, names)

    def _strict_fits(self, schema: dict[str, Any]) -> bool:
        """Whether *schema* can be enforced, with those of the tools before it (Anthropic, "Strict tool use")."""
        if self._strict >= MAX_STRICT_TOOLS or not subset.conforms(schema):
            return False
        optional, unions = subset.count(schema)
        optional, unions = self._optional + optional, self._unions + unions
        if optional > subset.MAX_OPTIONAL or unions > subset.MAX_UNIONS:
            return False
        self._strict, self._optional, self._unions = self._strict + 1, optional, unions
        return True

    def _custom(self, tool: Tool) -> dict[str, Any]:
        description = freeform.description(tool, self._losses)
        out: dict[str, Any] = {"name": tool_name(tool.name)}
        if description:
            out["description"] = description
        out["input_schema"] = freeform.SCHEMA
        self._losses.extra(tool.at, tool.extra)
        return with_cache(out, tool.cache)

    def _web_search(self, tool: Tool) -> dict[str, Any]:
        if _own(tool):
            return tool.native or {}
        search = tool.search
        out: dict[str, Any] = {"type": "web_search_20250305", "name": SEARCH}
        if search and search.max_uses is not None:
            out["max_uses"] = search.max_uses
        elif search and search.context_size is not None:
            out["max_uses"] = MAX_USES.get(search.context_size, MAX_USES["medium"])
            self._losses.rewritten(f"{tool.at}.search_context_size", f"to at most {out['max_uses']} searches")
        if search and search.user_location:
            out["user_location"] = {"type": "approximate", **search.user_location}
        self._losses.extra(tool.at, tool.extra)
        return with_cache(out, tool.cache)

    def _native(self, tool: Tool) -> dict[str, Any] | None:
        if _own(tool):
            return tool.native
        leave_out(self._request, tool, self._losses)
        return None


def _own(tool: Tool) -> bool:
    """Whether the tool is one that Anthropic defines, whichever dialect brought it."""
    if tool.native is None:
        return False
    return tool.dialect == NAME or OWN_TOOL.match(str(tool.native.get("type"))) is not None


def _input_schema(tool: Tool) -> dict[str, Any]:
    schema = tool.schema
    schema = None if schema is None else repaired(schema)
    if schema is None:
        return {"type": "object", "properties": {}}
    kind = schema.get("type")
    if kind is None:
        return {**schema, "type": "object"}
    if kind != "object":
        raise Unsupported(tool.at, f"{tool.at}: a tool's parameters must be of type object", "invalid_value")
    return schema
