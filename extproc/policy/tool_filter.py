"""``tool_filter``: which tools a route's models may be offered, under which names, and how many at most.

``allow`` and ``deny`` are lists of names, in which ``*`` stands for any text; what ``deny`` has is left out even if
``allow`` has it. ``rename`` maps a client's name to the one that the model sees; calls come back under the client's
own. ``max_tools`` keeps the first ones. Whatever is left out is a loss. What only a later message adds is looked at,
too, and what refers to a tool that is left out goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ..frozen import Frozen
from ..llm.events import ResponseEvent, ToolCallStarted
from ..llm.losses import Action
from ..llm.request import (
    Block,
    Member,
    Message,
    Request,
    Tool,
    ToolCall,
    ToolChange,
    ToolChoice,
    ToolReference,
    ToolResult,
)
from .base import Context, Make, Policy, Window
from .given import Given
from .texts import strings

_Name = list[str]
"""What stands around each ``*`` of a name that an operator has written."""


class _Rules(Frozen):
    allow: list[_Name] | None
    deny: list[_Name]
    rename: dict[str, str]
    most: int | None


def configure(given: Given) -> Make:
    allow, deny = given.texts("allow"), given.texts("deny")
    rename, most = given.pairs("rename"), given.count_if_any("max_tools", least=0)
    if len(set(rename.values())) < len(rename):
        raise given.error("rename", "two tools would have one name")
    rules = _Rules(None if allow is None else _names(allow), _names(deny or []), rename, most)
    return lambda context: ToolFilter(rules, context)


def _names(written: Sequence[str]) -> list[_Name]:
    return [name.split("*") for name in written]


def _is_one(name: str, known: Sequence[_Name]) -> bool:
    """Whether *name* is one of those *known*, in time that is linear in it."""
    return any(_fits(name, parts) for parts in known)


def _fits(name: str, parts: _Name) -> bool:
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return name == first
    at, end = len(first), len(name) - len(last)
    if at > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in parts[1:-1]:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class ToolFilter(Policy):
    """Of one exchange."""

    counts = True

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._losses = context.losses
        self._back: dict[str, str] = {}
        """The client's names of tools that are offered under others."""

    def on_request(self, request: Request) -> Request:
        tools = self._kept(request.tools)
        left = {tool.name for tool in tools}
        gone = {tool.name for tool in request.tools} - left
        choice = request.tool_choice
        if len(tools) < len(request.tools):
            choice = self._chosen(request, left, gone)
        conversation = _Conversation(self, gone, len(tools))
        messages = conversation.messages(request.messages)
        system = conversation.messages(request.system)
        self._back = {new: old for old, new in self._rules.rename.items() if old in left}
        if self._back:
            self.window = Window()
        extra = {name: member for name, member in request.extra.items() if not self._is_left_out(member)}
        request = replace(request, tools=tools, tool_choice=choice, messages=messages, system=system, extra=extra)
        return _renamed(request, self._rules.rename) if self._rules.rename else request

    def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent]:
        return [
            replace(event, name=self._back.get(event.name, event.name)) if isinstance(event, ToolCallStarted) else event
            for event in events
        ]

    def _kept(self, tools: list[Tool]) -> list[Tool]:
        names = self._rules.rename
        allowed = {tool.name for tool in tools if self.is_allowed(tool.name)}
        taken = {names[name] for name in allowed if name in names}
        kept: list[Tool] = []
        for tool in tools:
            if tool.name not in allowed:
                self.leave_out(tool.at, f"the route does not offer the tool {tool.name[:64]}")
            elif tool.name in taken and tool.name not in names:
                self.leave_out(tool.at, f"the route calls another tool {tool.name[:64]}")
            elif not self.has_room(len(kept)):
                self.leave_out(tool.at, f"the route offers {self._rules.most} tools at most")
            else:
                kept.append(tool)
        return kept

    def _is_left_out(self, member: Member) -> bool:
        """A member that names servers, whose tools the provider offers."""
        if member.holds != "tools" or self.is_allowed(member.path):
            return False
        self.leave_out(member.path, f"the route does not offer the tools of {member.path}")
        return True

    def leave_out(self, at: str, why: str) -> None:
        self._losses.add(at, Action.FILTERED, why)

    def has_room(self, count: int) -> bool:
        """For one more than *count* tools."""
        return self._rules.most is None or count < self._rules.most

    def is_allowed(self, name: str) -> bool:
        rules = self._rules
        return not _is_one(name, rules.deny) and (rules.allow is None or _is_one(name, rules.allow))

    def _chosen(self, request: Request, left: set[str], gone: set[str]) -> ToolChoice:
        """The choice among the tools that are *left*: what names none of them, or must choose where there is none, is
        left to the model."""
        choice = request.tool_choice
        if not left:
            return ToolChoice()
        names = [name for name in choice.names if name not in gone]
        if names == choice.names:
            return choice
        self._losses.add(request.path_of("tool_choice"), Action.FILTERED, "it names a tool that is not offered")
        mode = choice.mode if names else None
        return replace(choice, mode=mode, names=names)


class _Conversation:
    """What is said of tools in the messages of one request, of whose tools those of *gone* are left out."""

    def __init__(self, policy: ToolFilter, gone: set[str], count: int) -> None:
        self._policy = policy
        self._gone = gone
        self._count = count

    def messages(self, given: list[Message]) -> list[Message]:
        """*given* itself, if nothing in it changes."""
        out: list[Message] = []
        for message in given:
            kept = message
            if isinstance(message.content, list):
                blocks = self._blocks(message.content)
                if blocks is not message.content:
                    kept = replace(message, content=blocks)
            if kept is message or kept.content:
                out.append(kept)
        return given if _same(out, given) else out

    def _blocks(self, given: list[Block]) -> list[Block]:
        out: list[Block] = []
        for block in given:
            if isinstance(block, ToolResult) and isinstance(block.content, list):
                inner = self._blocks(block.content)
                out.append(block if inner is block.content else replace(block, content=inner))
            elif not self._is_left_out(block):
                out.append(block)
        return given if _same(out, given) else out

    def _is_left_out(self, block: Block) -> bool:
        if isinstance(block, ToolReference):
            return block.name in self._gone
        if not isinstance(block, ToolChange):
            return False
        if block.tool is None:
            return not self._gone.isdisjoint(strings(block.native))
        if not block.added:
            return False
        if not self._policy.is_allowed(block.tool.name):
            self._policy.leave_out(block.at, f"the route does not offer the tool {block.tool.name[:64]}")
            return True
        if not self._policy.has_room(self._count):
            self._policy.leave_out(block.at, "the route offers no more tools")
            return True
        self._count += 1
        return False


def _same(new: Sequence[object], old: Sequence[object]) -> bool:
    """Whether nothing has changed."""
    return len(new) == len(old) and all(one is other for one, other in zip(new, old, strict=True))


def _renamed(request: Request, names: Mapping[str, str]) -> Request:
    tools = [replace(tool, name=names[tool.name]) if tool.name in names else tool for tool in request.tools]
    choice = request.tool_choice
    chosen = [names.get(name, name) for name in choice.names]
    return replace(
        request,
        tools=tools,
        tool_choice=choice if chosen == choice.names else replace(choice, names=chosen),
        messages=[_said(message, names) for message in request.messages],
    )


def _said(message: Message, names: Mapping[str, str]) -> Message:
    if isinstance(message.content, str):
        return message
    blocks = [_block(block, names) for block in message.content]
    return message if _same(blocks, message.content) else replace(message, content=blocks)


def _block(block: Block, names: Mapping[str, str]) -> Block:
    if isinstance(block, (ToolCall, ToolReference)):
        return replace(block, name=names[block.name]) if block.name in names else block
    if isinstance(block, ToolResult) and isinstance(block.content, list):
        inner = [_block(each, names) for each in block.content]
        return block if _same(inner, block.content) else replace(block, content=inner)
    return block
