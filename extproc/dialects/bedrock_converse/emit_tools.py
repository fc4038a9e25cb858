"""Tools and the choice among them, written for Converse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Request, Tool
from ..base import Members
from ..shared import claude_schema as subset
from ..shared import freeform
from ..shared.naming import tool_name
from ..shared.schemas import repaired, rooted
from ..shared.tools import allowed, leave_out, renamed
from .emit_blocks import CachePoints, expanded
from .words import NAME

NO_TOOLS: Final = "Do not call any tool."
"""What Converse has no choice for, said to the model."""


class Tools(Struct):
    """What a request says of tools, and what must be undone in the response."""

    config: Members | None = None
    """``toolConfig``."""
    forced: bool = False
    instruction: str | None = None
    claudes_choice: Members | None = None
    """The choice in Claude's own words, where Converse's say less."""
    names: dict[str, str] = {}
    """As sent -> as the client knows them, where they differ."""
    custom: frozenset[str] = frozenset()


def write_tools(
    request: Request, points: CachePoints, called: Iterable[str], losses: LossReport, *, claude: bool, forcible: bool
) -> Tools:
    """*called*: the tools that the conversation has called so far, by the client's names. *forcible*: the model can be
    made to call a tool. Raises Unsupported."""
    out = Tools()
    called = list(called)
    choice = request.tool_choice
    left = allowed(request, losses)
    offered = [tool for tool in request.tools if left is None or tool.name in left]
    made = [_tool(request, tool, points, losses, claude=claude) for tool in offered]
    written = [tool for tool in made if tool is not None]
    if not written and called:
        # The API refuses a history of calls without the definitions of their tools.
        written = [_spec(tool_name(name), None, {"type": "object"}) for name in called]
        losses.add(request.path_of("tools"), Action.SYNTHESIZED, "the history calls tools that are not defined")
    elif choice.mode == "none" and written:
        if called:
            out.instruction = NO_TOOLS
            losses.add(request.path_of("tool_choice"), Action.EMULATED, "by an instruction")
        else:
            written = []
    elif not written and choice.mode in ("required", "tool"):
        losses.dropped(request.path_of("tool_choice"), "there are no tools")
    if written:
        out.config = {"tools": expanded(written)}
        _choose(request, out, losses, claude=claude, forcible=forcible)
    out.custom = freeform.names(request)
    out.names = renamed(request, called)
    return out


def _choose(request: Request, out: Tools, losses: LossReport, *, claude: bool, forcible: bool) -> None:
    choice = request.tool_choice
    assert out.config is not None
    made: Members | None = {"auto": {}} if choice.mode == "auto" else None
    if choice.mode in ("required", "tool") and request.tools:
        if not forcible:
            losses.add(request.path_of("tool_choice"), Action.DOWNGRADED, "this model cannot be made to call a tool")
            made = {"auto": {}}
        else:
            out.forced = True
            made = {"tool": {"name": tool_name(choice.names[0])}} if len(choice.names) == 1 else {"any": {}}
    if made is not None:
        out.config["toolChoice"] = made
    if choice.parallel is False and request.tools:
        _one_at_a_time(request, out, made or {"auto": {}}, losses, claude=claude)


def _one_at_a_time(request: Request, out: Tools, choice: Members, losses: LossReport, *, claude: bool) -> None:
    if not claude:
        losses.dropped(request.path_of("parallel"), "Converse does not say how many calls may be made")
        return
    kind = next(iter(choice))
    out.claudes_choice = {"type": kind, **choice[kind], "disable_parallel_tool_use": True}


def _tool(request: Request, tool: Tool, points: CachePoints, losses: LossReport, *, claude: bool) -> Members | None:
    """``None`` for a tool that cannot be carried."""
    if tool.kind == "custom":
        return points.mark(_custom(tool, losses), tool.cache, tool.at)
    if tool.kind == "function":
        return points.mark(_function(request, tool, losses, claude=claude), tool.cache, tool.at)
    if tool.dialect == NAME and tool.native is not None:
        return tool.native
    leave_out(request, tool, losses)
    return None


def _function(request: Request, tool: Tool, losses: LossReport, *, claude: bool) -> Members:
    schema = repaired(tool.schema) if tool.schema is not None else {"type": "object", "properties": {}}
    description = tool.description
    if claude and request.dialect != NAME:
        schema, description = rooted(tool, schema, losses)
        if (names := subset.input_names([tool]).get(tool.name)) is not None:
            losses.rewritten(tool.at, "names of properties, to the characters that the API takes")
            schema = subset.with_names(schema, names)
    if (kind := schema.get("type")) is None:
        schema = {**schema, "type": "object"}
    elif kind != "object":
        raise Unsupported(tool.at, f"{tool.at}: a tool's parameters must be of type object", "invalid_value")
    out = _spec(tool_name(tool.name), description, schema)
    if tool.strict is not None and request.dialect == NAME:
        out["toolSpec"]["strict"] = tool.strict
    elif tool.strict:
        if subset.conforms(schema):
            out["toolSpec"]["strict"] = True
        else:
            losses.dropped(f"{tool.at}.strict", "outside what the provider can enforce")
    if tool.extra:
        if request.dialect == NAME:
            out["toolSpec"] |= tool.extra
        else:
            losses.extra(tool.at, tool.extra)
    return out


def _custom(tool: Tool, losses: LossReport) -> Members:
    described = freeform.description(tool, losses)
    losses.extra(tool.at, tool.extra)
    return _spec(tool_name(tool.name), described, freeform.SCHEMA)


def _spec(name: str, description: str | None, schema: Members) -> Members:
    out: Members = {"name": name}
    if description:
        # The API refuses an empty one.
        out["description"] = description
    out["inputSchema"] = {"json": schema}
    return {"toolSpec": out}
