"""What stays in a conversation's history and an upstream cannot take: told in words, and reported.

An agent sends its history with each request. What is refused once is refused in every request after it, and the session
is over; so nothing of it is refused that can be said in another way.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Block, Message, Opaque, Request, Source, Text, Tool, ToolChange, ToolReference, ToolResult
from .client_tools import as_function
from .naming import tool_name

NO_RESULT: Final = "[no result: the call was interrupted]"
"""In place of a result that never came."""


def as_aside(text: str) -> str:
    """A system message's *text* within a user's turn, so that the model can tell it from what the user said."""
    return f"<system>\n{text}\n</system>"


def omitted(what: str, why: str) -> str:
    """What stands in place of something that was left out."""
    return f"[{what} omitted: {why}]"


def cannot_open(source: Source) -> str:
    """Why a medium at an address is left out."""
    return f"the model cannot open {source.data}"


def takes_none(kind: str | None) -> str:
    """Why a medium of the type *kind* is left out."""
    return f"the model takes none of type {kind or 'unknown'}"


def said_now(messages: list[Message]) -> Message | None:
    """What the user has just said, of which an API refuses what it cannot take. All that came before, and what tools
    answered, is there again in each later request: a text stands there in its place (``left_out``)."""
    last = next((message for message in reversed(messages) if message.role != "system"), None)
    if last is None or last.role != "user":
        return None
    if type(last.content) is not str and any(type(block) is ToolResult for block in last.content):
        return None
    return last


def left_out(block: Block, problem: Unsupported, losses: LossReport) -> str:
    """The text that stands in the history in place of *block*, because of its *problem*, which is reported."""
    losses.dropped(block.at, problem.message)
    what = block.content.get("type") if type(block) is Opaque else type(block).__name__.lower()
    return omitted(what if type(what) is str else "content", "the model cannot take it")


def settled(request: Request, losses: LossReport) -> Request:
    """*request* for an API that knows all tools from the start, and no tools but functions: without what only changes
    which may be called, with the tools that are defined on the way among the others, with those that clients of
    Anthropic's run as functions, and without system messages that count no longer."""
    messages = request.messages
    if not request.tools and all(type(each.content) is str and each.clear_at is None for each in messages):
        return request
    tools = _distinct([_function(tool, losses) for tool in request.tools], losses)
    if any(_changes(message) for message in messages):
        messages = _unchanging(messages, tools, losses)
    messages = [_with_names(message, losses) for message in messages]
    return replace(request, messages=messages, tools=tools)


def _distinct(tools: list[Tool], losses: LossReport) -> list[Tool]:
    """*tools* without a function that has another one's name: most APIs refuse it."""
    names: set[str] = set()
    kept = []
    for tool in tools:
        name = tool_name(tool.name) if tool.kind in ("function", "custom") else ""
        if name in names:
            losses.dropped(tool.at, f"another tool is called {name}")
            continue
        if name:
            names.add(name)
        kept.append(tool)
    return kept


def _function(tool: Tool, losses: LossReport) -> Tool:
    if tool.kind != "provider" or (made := as_function(tool)) is None:
        return tool
    losses.add(tool.at, Action.EMULATED, "as a function: this model was not taught it")
    return made


def _with_names(message: Message, losses: LossReport) -> Message:
    """What a client's search for tools found, in words."""
    content = message.content
    if type(content) is str or message.role not in ("user", "tool"):
        return message
    if not any(_names_tools(block) for block in content):
        return message
    blocks: list[Any] = [
        replace(block, content=[_in_words(each, losses) for each in block.content])
        if type(block) is ToolResult and _names_tools(block)
        else _in_words(block, losses)
        for block in content
    ]
    return replace(message, content=blocks)


def _names_tools(block: Any) -> bool:
    if type(block) is not ToolResult or type(block.content) is not list:
        return type(block) is ToolReference
    return any(type(each) is ToolReference for each in block.content)


def _in_words(block: Any, losses: LossReport) -> Any:
    if type(block) is not ToolReference:
        return block
    losses.rewritten(block.at, "as text")
    return Text(f"Tool available: {tool_name(block.name)}", block.at, block.cache, extra=block.extra)


def _changes(message: Message) -> bool:
    if message.role != "system":
        return False
    content = message.content
    return message.clear_at is not None or (
        type(content) is list and any(type(block) is ToolChange for block in content)
    )


def _unchanging(messages: list[Message], tools: list[Tool], losses: LossReport) -> list[Message]:
    """*messages* without changes; tools that they define are added to *tools*."""
    last_user = max((i for i, message in enumerate(messages) if message.role in ("user", "tool")), default=-1)
    known = {tool.name for tool in tools}
    out: list[Message] = []
    for i, message in enumerate(messages):
        if not _changes(message):
            out.append(message)
        elif message.clear_at == "next_user_message" and i < last_user:
            losses.add(message.at, Action.FILTERED, "it counted until the user spoke again")
        else:
            out.append(_unchanged(message, tools, known, losses))
    return out


def _unchanged(message: Message, tools: list[Tool], known: set[str], losses: LossReport) -> Message:
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
            tools.append(_function(added, losses))
    return replace(message, content=kept)
