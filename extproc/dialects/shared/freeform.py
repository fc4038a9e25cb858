"""Free-form tools, for models that take functions only: a function with one text for its input."""

from __future__ import annotations

from typing import Any, Final

from ...llm.losses import Action, LossReport
from ...llm.request import Request, Tool
from ..base import encode

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def names(request: Request) -> frozenset[str]:
    """The request's free-form tools, by the client's names."""
    return frozenset(tool.name for tool in request.tools if tool.kind == "custom")


def description(tool: Tool, losses: LossReport) -> str:
    """What is said of *tool*, with the grammar that nobody enforces then."""
    losses.add(tool.at, Action.EMULATED, "as a function with one text")
    said = tool.description or ""
    if not tool.grammar:
        return said
    losses.add(f"{tool.at}.format", Action.DOWNGRADED, "the grammar is described, not enforced")
    grammar = f"The input must follow this grammar:\n{encode(tool.grammar).decode()}"
    return f"{said}\n\n{grammar}" if said else grammar


def as_input(text: str | None) -> dict[str, str]:
    """The *text* of a call as the function's input."""
    return {"input": text or ""}


def wrapped(text: str) -> str:
    """The same as JSON."""
    return encode(as_input(text)).decode()
