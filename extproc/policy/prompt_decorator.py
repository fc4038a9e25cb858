"""``prompt_decorator``: messages of the operator's around what every client says.

``prepend`` and ``append`` are lists of ``{role, content}``. System messages go where the API has them: those of
``prepend`` before the client's own, those of ``append`` behind them; the others stand before the first message of the
conversation and behind its last. The client never sees them, so that they do not come back with its next turn; and a
request that has them already, because another gateway has added them, is left as it is.
"""

from __future__ import annotations

from typing import Literal, cast

from msgspec.structs import replace

from ..frozen import Frozen
from ..llm.request import Message, Request, Text, ToolCall
from .base import Make, Policy
from .given import Given

ROLES = ("user", "system", "assistant")
Role = Literal["user", "system", "assistant"]


class _Added(Frozen):
    system: list[Message]
    turns: list[Message]


def configure(given: Given) -> Make:
    before, after = _added(given, "prepend"), _added(given, "append")
    if not (before.system or before.turns or after.system or after.turns):
        raise given.error("prepend", "it or append must hold a message")
    if after.turns and after.turns[-1].role == "assistant":
        raise given.error("append", "the last message cannot be the assistant's: the model would go on with it")
    return lambda context: PromptDecorator(before, after)


def _added(given: Given, name: str) -> _Added:
    messages: list[Message] = []
    for part in given.parts(name):
        role, content = part.choice("role", ROLES), part.text("content")
        if not content.strip():
            raise part.error("content", "is empty")
        part.finish()
        messages.append(Message(cast(Role, role), content))
    system = [message for message in messages if message.role == "system"]
    return _Added(system, [message for message in messages if message.role != "system"])


class PromptDecorator(Policy):
    """Of one exchange."""

    counts = True

    def __init__(self, before: _Added, after: _Added) -> None:
        self._before = before
        self._after = after

    def on_request(self, request: Request) -> Request:
        system, turns = request.system, request.messages
        if not _starts(system, self._before.system):
            system = [*self._before.system, *system]
        if not _ends(system, self._after.system):
            system = [*system, *self._after.system]
        if not _starts(turns, self._before.turns):
            turns = [*self._before.turns, *turns]
        if not _ends(turns, self._after.turns):
            turns = self._appended(turns)
        return replace(request, system=system, messages=turns)

    def _appended(self, turns: list[Message]) -> list[Message]:
        """Behind the last turn. An answer that the client has begun itself stays the last, or it would be none; a call
        that waits for its result stays together with it."""
        last = turns[-1] if turns else None
        if last is not None and last.role == "assistant" and not _calls(last):
            return [*turns[:-1], *self._after.turns, last]
        return [*turns, *self._after.turns]


def _calls(message: Message) -> bool:
    return isinstance(message.content, list) and any(isinstance(block, ToolCall) for block in message.content)


def _starts(messages: list[Message], with_these: list[Message]) -> bool:
    wanted = _said(with_these)
    return _said(messages[: len(wanted)])[: len(wanted)] == wanted


def _ends(messages: list[Message], with_these: list[Message]) -> bool:
    wanted = _said(with_these)
    return not wanted or _said(messages[-len(wanted) :])[-len(wanted) :] == wanted


def _said(messages: list[Message]) -> list[tuple[str, object]]:
    """Who says what. Some APIs join what follows each other: as blocks of one turn, or as paragraphs of one prompt."""
    said: list[tuple[str, object]] = []
    for message in messages:
        for block in message.content if isinstance(message.content, list) else [Text(message.content)]:
            found: object = block.text if isinstance(block, Text) else block
            split = isinstance(found, str) and message.role == "system"
            said += [(message.role, each) for each in (str(found).split("\n\n") if split else [found])]
    return said
