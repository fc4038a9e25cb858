"""What stays in a conversation's history and an upstream cannot take: told in words, and reported.

An agent sends its history with each request. What is refused once is refused in every request after it, and the session
is over; so nothing of it is refused that can be said in another way.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...llm.losses import Action, LossReport
from ...llm.request import Message, Request, Tool, ToolChange

NO_RESULT = "[no result: the call was interrupted]"
"""In place of a result that never came."""


def as_aside(text: str) -> str:
    """A system message's *text* within a user's turn, so that the model can tell it from what the user said."""
    return f"<system>\n{text}\n</system>"


def omitted(what: str, why: str) -> str:
    """What stands in place of something that was left out."""
    return f"[{what} omitted: {why}]"


def reference(name: str) -> str:
    """What a client's search for tools found, in words. *name* is the one under which the model knows the tool."""
    return f"Tool available: {name}"


def without_changes(request: Request, losses: LossReport) -> Request:
    """*request* for an API that knows all tools from the start: without what only changes which may be called, with the
    tools that are defined on the way among the others, and without system messages that count no longer."""
    if not any(_changes(message) for message in request.messages):
        return request
    users = [i for i, message in enumerate(request.messages) if message.role in ("user", "tool")]
    last_user = users[-1] if users else -1
    tools, known = list(request.tools), {tool.name for tool in request.tools}
    messages: list[Message] = []
    for i, message in enumerate(request.messages):
        if not _changes(message):
            messages.append(message)
        elif message.clear_at == "next_user_message" and i < last_user:
            losses.add(message.at, Action.FILTERED, "it counted until the user spoke again")
        else:
            messages.append(_unchanging(message, tools, known, losses))
    return replace(request, messages=messages, tools=tools)


def _changes(message: Message) -> bool:
    if message.role != "system":
        return False
    content = message.content
    return message.clear_at is not None or (
        type(content) is list and any(type(block) is ToolChange for block in content)
    )


def _unchanging(message: Message, tools: list[Tool], known: set[str], losses: LossReport) -> Message:
    if message.clear_at not in (None, "never"):
        losses.add(f"{message.at}.clear_at", Action.DROPPED, "the text stays until the conversation goes on")
    if type(message.content) is str:
        return message
    kept: list[Any] = []
    for block in message.content:
        if type(block) is not ToolChange:
            kept.append(block)
            continue
        added = block.tool
        if added is None or added.name in known:
            losses.dropped(block.at, "all tools can be called from the start")
        else:
            losses.add(block.at, Action.MOVED, "to the tools of the request")
            known.add(added.name)
            tools.append(added)
    return replace(message, content=kept)
