"""What every API has to settle of a request's tools before it writes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Request, Tool
from .naming import tool_name


def allowed(request: Request, losses: LossReport) -> set[str] | None:
    """The tools that the choice leaves, where it leaves some out; ``None``: all. One tool that must be called is named
    in the choice instead, so that the tools, which caches and signed thinking depend on, stay as they are. Raises
    Unsupported for a choice of what is not there."""
    choice = request.tool_choice
    known = {tool.name for tool in request.tools}
    check_choice(request, known)
    single = choice.mode == "tool" or (choice.mode == "required" and len(choice.names) == 1)
    if not choice.names or single or known <= set(choice.names):
        return None
    losses.add(request.path_of("tools"), Action.FILTERED, "to those that the choice allows")
    return set(choice.names)


def check_choice(request: Request, known: Collection[str]) -> None:
    """Raise Unsupported for a choice of a tool that is not among the *known*."""
    for name in request.tool_choice.names:
        if name not in known:
            path = request.path_of("tool_choice")
            raise Unsupported(path, f"{path} names {name!r}, which is not among the tools", "invalid_value")


def carried(
    request: Request, tool: Tool, name: str, losses: LossReport, writers: Mapping[str, Callable[[Tool], Any]]
) -> Any:
    """*tool* by the writer of its kind, members or their text; one that the dialect called *name* has for itself as it
    came; ``None`` for any other, which is reported. Raises Unsupported."""
    write = writers.get(tool.kind)
    if write is not None:
        return write(tool)
    if tool.dialect == name and tool.native is not None:
        return tool.native
    leave_out(request, tool, losses)
    return None


def leave_out(request: Request, tool: Tool, losses: LossReport, problem: str = "", why: str = "") -> None:
    """Report that *tool* cannot be carried, by default because another provider runs it. Raises Unsupported, saying
    *problem*, if the request makes no sense without it: there is no other, or it must be called."""
    member = request.extra.get(tool.at)
    if member is not None and member.essential:
        raise Unsupported(member.path, member.problem, member.code)
    choice = request.tool_choice
    if len(request.tools) == 1 or (choice.mode in ("required", "tool") and tool.name in choice.names):
        raise Unsupported(tool.at, f"{problem or f'the tool {tool.name!r} is'} not supported for this model")
    losses.dropped(tool.at, why or "a tool that another provider runs")


def renamed(request: Request, called: Iterable[str], fitting: Callable[[str], str] = tool_name) -> dict[str, str]:
    """Names of tools as sent -> as the client knows them, where they differ; *called*: those that the conversation has
    called so far."""
    everyone = [*(tool.name for tool in request.tools), *called]
    return {sent: name for name in everyone if (sent := fitting(name)) != name}
