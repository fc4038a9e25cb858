"""What every API has to settle of a request's tools before it writes them."""

from __future__ import annotations

from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Request


def allowed(request: Request, losses: LossReport) -> set[str] | None:
    """The tools that the choice leaves, where it leaves some out; ``None``: all. One tool that must be called is named
    in the choice instead, so that the tools, which caches and signed thinking depend on, stay as they are. Raises
    Unsupported for a choice of what is not there."""
    choice = request.tool_choice
    known = {tool.name for tool in request.tools}
    for name in choice.names:
        if name not in known:
            path = request.path_of("tool_choice")
            raise Unsupported(path, f"{path} names {name!r}, which is not among the tools", "invalid_value")
    single = choice.mode == "tool" or (choice.mode == "required" and len(choice.names) == 1)
    if not choice.names or single or known <= set(choice.names):
        return None
    losses.add(request.path_of("tools"), Action.FILTERED, "to those that the choice allows")
    return set(choice.names)
