"""``tool_filter``: which tools a route's models may be offered, under which names, and how many at most.

``allow`` and ``deny`` are lists of names, in which ``*`` stands for any text; what ``deny`` has is left out even if
``allow`` has it. ``rename`` maps a client's name to the one that the model sees; calls come back under the client's
own. ``max_tools`` keeps the first ones. Whatever is left out is a loss.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ..frozen import Frozen
from ..llm.events import ResponseEvent, ToolCallStarted
from ..llm.losses import Action
from ..llm.request import Block, Message, Request, Tool, ToolCall, ToolChoice
from .base import Context, Make, Policy, Window
from .given import Given


class _Rules(Frozen):
    allow: re.Pattern[str] | None
    deny: re.Pattern[str] | None
    rename: dict[str, str]
    most: int | None


def configure(given: Given) -> Make:
    allow, deny = given.texts("allow"), given.texts("deny")
    rename, most = given.pairs("rename"), given.count_if_any("max_tools", least=0)
    if len(set(rename.values())) < len(rename):
        raise given.error("rename", "two tools would have one name")
    rules = _Rules(None if allow is None else _pattern(allow), _pattern(deny or []), rename, most)
    return lambda context: ToolFilter(rules, context)


def _pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    each = (".*".join(re.escape(part) for part in name.split("*")) for name in names)
    return re.compile("|".join(each), re.DOTALL) if names else re.compile(r"(?!)")


class ToolFilter(Policy):
    """Of one exchange."""

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._losses = context.losses
        self._back = {new: old for old, new in rules.rename.items()}
        self.window = Window() if rules.rename else None

    def on_request(self, request: Request) -> Request:
        tools = self._kept(request.tools)
        if len(tools) < len(request.tools):
            left = {tool.name for tool in tools}
            gone = {tool.name for tool in request.tools} - left
            request = replace(request, tools=tools, tool_choice=self._chosen(request, left, gone))
        return _renamed(request, self._rules.rename) if self._rules.rename else request

    def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent]:
        return [
            replace(event, name=self._back.get(event.name, event.name)) if isinstance(event, ToolCallStarted) else event
            for event in events
        ]

    def _kept(self, tools: list[Tool]) -> list[Tool]:
        kept: list[Tool] = []
        for tool in tools:
            if not self._is_allowed(tool.name):
                self._losses.add(tool.at, Action.FILTERED, f"the route does not offer the tool {tool.name[:64]}")
            elif self._rules.most is not None and len(kept) >= self._rules.most:
                self._losses.add(tool.at, Action.FILTERED, f"the route offers {self._rules.most} tools at most")
            else:
                kept.append(tool)
        return kept

    def _is_allowed(self, name: str) -> bool:
        rules = self._rules
        if rules.deny is not None and rules.deny.fullmatch(name):
            return False
        return rules.allow is None or rules.allow.fullmatch(name) is not None

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
    content = message.content
    if isinstance(content, str) or not any(isinstance(b, ToolCall) and b.name in names for b in content):
        return message
    blocks: list[Block] = [
        replace(b, name=names.get(b.name, b.name)) if isinstance(b, ToolCall) else b for b in content
    ]
    return replace(message, content=blocks)
