"""A conversation as turns of user and assistant, as Anthropic's API and Bedrock's Converse want it.

Append-only: what becomes of a message depends on what came before it and on its own turn, never on how long the
conversation grows later, because the provider's caches and its check of replayed thinking look at the exact prefix. The
two exceptions depend on the conversation's end, and are reported: ``Continue.`` and a prefill's trailing spaces.

What an interrupted turn left (a call without its result, a result without its call) is told in words: it stays in the
history, so refusing it would end the conversation for good.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Block, Message, Opaque, Request, Text, Thinking, ToolCall, ToolChange, ToolResult
from ..base import Members
from .history import NO_RESULT, as_aside, said_now
from .media import tag
from .naming import ToolIds, made_tool_id, tool_name
from .open_calls import OpenCalls

CONTINUE: Final = "Continue."

Content = str | list[Members]


class WritesBlocks(Protocol):
    """Writes single blocks in a dialect's own form, in which a text has a member ``text``."""

    losses: LossReport
    refuses: bool
    """What the API cannot take is refused; else a text stands in its place."""

    def text(self, block: Text) -> Members | None:
        """``None`` for a text that the API refuses."""
        ...

    def content(self, block: Block) -> Members | None:
        """What users and tools say. ``None`` when nothing is left of it. Raises Unsupported."""
        ...

    def call(self, call: ToolCall, id_: str, name: str) -> Members: ...

    def result(self, result: ToolResult, id_: str) -> Members: ...

    def thinking(self, block: Thinking) -> Members | None:
        """``None`` for thinking that the provider has not sealed."""
        ...

    def is_thinking(self, written: Members) -> bool: ...


class Turn(Struct):
    """A turn being assembled. ``results`` go before everything else. ``text``: its whole content, as long as that is
    one source message that was a string."""

    role: str
    results: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    text: str | None = None

    @property
    def content(self) -> Content:
        return self.text if self.text is not None else [*self.results, *self.blocks]


class _Held(Struct):
    """A system message that waits for the end of the user's turn. ``passed``: some of that turn came after it."""

    message: Message
    passed: bool = False


class Turns:
    """Takes the messages in their order, gives the turns. *ids* fits tool call ids to the API. *mid_system*: the model
    takes system messages in mid-conversation. *bound_thinking*: it checks replayed thinking against the conversation
    before it. *signed_calls*: it takes signatures on calls."""

    def __init__(
        self,
        writer: WritesBlocks,
        ids: ToolIds,
        *,
        mid_system: bool,
        bound_thinking: bool,
        signed_calls: bool = False,
    ) -> None:
        self.turns: list[Turn] = []
        self.names: dict[str, None] = {}
        """The tools that were called, by the client's names, in order."""
        self.replays_thinking = False
        self._writer = writer
        self._losses = writer.losses
        self._mid_system = mid_system
        self._bound_thinking = bound_thinking
        self._signed_calls = signed_calls
        self._blank = ""  # where a turn stands of which nothing was left
        self._last = ""  # where the last message stands
        self._speaker = ""  # whose it was, systems aside
        self._thinking_lost = False
        self._ids = ids
        self._calls = 0
        self._seen: dict[str, int] = {}
        self._open = OpenCalls()  # by the client's id: the id as sent and the path
        self._held: list[_Held] = []

    def add_all(self, messages: list[Message]) -> None:
        """Raises Unsupported for what the user has just said and this API cannot carry."""
        now = said_now(messages)
        for message in messages:
            self._writer.refuses = message is now
            self.add(message)
        self.end()

    def add(self, message: Message) -> None:
        """Raises Unsupported for content that this API cannot carry."""
        if message.name is not None:
            self._losses.dropped(f"{message.at}.name")
        self._losses.extra(message.at, message.extra)
        self._last = message.at
        if message.role == "system":
            self._system(message)
            return
        self._speaker = message.role
        if message.role == "assistant":
            self._assistant(message)
        else:
            self._user(message)

    def end(self) -> None:
        """The last message was added. Raises Unsupported when the conversation ends in calls."""
        self._answer_open()
        self._release()
        if self._open and self._speaker == "assistant":
            at = self._open.rest()[0][1]
            raise Unsupported(at, f"{at}: the tool call has no result", "invalid_value")
        self._answer_open()
        if not self.turns:
            # A conversation of system messages only, or of blank ones: other APIs answer it.
            self._losses.add("messages", Action.SYNTHESIZED, "a user's turn: this API demands one")
            self.turns.append(Turn("user", text="."))

    def written(self, *, prefill: bool) -> list[dict[str, Any]]:
        """The turns as they are sent, once. *prefill*: a trailing assistant turn is the start of the answer, if it was
        the client's last: where a blank turn of the user's came behind it, the answer was over."""
        prefill = prefill and self._speaker == "assistant"
        if self.turns[-1].role == "assistant" and not (prefill and self._trimmed(self.turns[-1])):
            self._losses.add("messages", Action.CONTINUED, "this model does not continue an assistant's turn")
            self.turns.append(Turn("user", text=CONTINUE))
        return [{"role": turn.role, "content": turn.content} for turn in self.turns]

    @property
    def answers_unsigned(self) -> bool:
        """Whether the conversation ends in answers to tool calls that came without thinking."""
        spoken = [turn for turn in self.turns[-3:] if turn.role != "system"]
        if len(spoken) < 2 or not spoken[-1].results:
            return False
        return not any(self._writer.is_thinking(block) for block in spoken[-2].blocks)

    # ---- turns

    def _put(self, role: str, block: dict[str, Any], *, whole: bool = False) -> None:
        """Add *block* to the turn; *whole*: it is all of a message that was a string."""
        turn = self._turn(role)
        turn.text = block["text"] if whole and not (turn.blocks or turn.results) else None
        turn.blocks.append(block)

    def _turn(self, role: str) -> Turn:
        """The turn that goes on, or a new one."""
        if role == "assistant":
            self._answer_open()
            self._release()
            self._answer_open()
            if self._blank and self.turns and self.turns[-1].role == "assistant":
                self._losses.dropped(self._blank, "an empty turn")
            self._blank = ""
            if not self.turns:
                self._losses.rewritten("messages[0]", "the conversation begins with a user's turn")
                self.turns.append(Turn("user", text="."))
        for held in reversed(self._held):
            if held.passed:
                break  # and so are those before it
            held.passed = True
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role))
        return self.turns[-1]

    def _answer_open(self) -> None:
        """The user has spoken, or is about to be interrupted: what is not answered by now never will be."""
        if not self._open or self.turns[-1].role != "user":
            return
        turn = self.turns[-1]
        turn.text = None
        for id_, at in self._open.rest():
            self._losses.add(at, Action.SYNTHESIZED, "a result of the call, which has none")
            turn.results.append(self._writer.result(ToolResult(id_, NO_RESULT, is_error=True), id_))

    def _trimmed(self, turn: Turn) -> bool:
        """Take trailing whitespace, which the API refuses there, from the last text; whether it can be continued."""
        last = turn.blocks[-1]
        if type(last.get("text")) is not str or not (text := last["text"].rstrip()):
            return False
        if text != last["text"]:
            self._losses.rewritten(self._last, "a prefill without its trailing blanks, which this API refuses")
        turn.blocks[-1] = {**last, "text": text}
        if turn.text is not None:
            turn.text = text
        return True

    # ---- users and tools

    def _user(self, message: Message) -> None:
        content = message.content
        if type(content) is str:
            if (written := self._writer.text(Text(content, message.at))) is not None:
                self._put("user", written, whole=True)
            else:
                self._blank = message.at
            return
        for block in content:
            if type(block) is ToolResult:
                self._result(block)
            elif (written := self._writer.content(block)) is not None:  # type: ignore[arg-type]
                self._put("user", written)

    def _result(self, result: ToolResult) -> None:
        found = self._open.take(result.id) if result.id else self._open.take_first()
        if found is None:
            self._orphan(result)
            return
        turn = self._turn("user")
        turn.text = None
        turn.results.append(self._writer.result(result, found[0]))

    def _orphan(self, result: ToolResult) -> None:
        """A result that answers no open call, as what the user says."""
        why = "as text: it answers no tool call of the turn before it, or one that is answered already"
        self._losses.add(result.at, Action.DOWNGRADED, why)
        self._losses.extra(result.at, result.extra)
        said = [Text(result.content)] if type(result.content) is str else result.content
        opening = Text(tag("tool_result", id=result.id), result.at, result.cache)
        for block in (opening, *said, Text("</tool_result>")):
            if (written := self._writer.content(block)) is not None:
                self._put("user", written)

    # ---- the assistant

    def _assistant(self, message: Message) -> None:
        content = message.content
        if type(content) is str:
            if (written := self._writer.text(Text(content, message.at))) is not None:
                self._put("assistant", written, whole=True)
            else:
                self._losses.dropped(message.at, "an empty turn")
            return
        empty = True
        for block in in_order(content):  # type: ignore[arg-type]
            if (written := self._assistant_block(block)) is not None:
                # A text that stands where the message does was the message's whole text, as a string.
                plain = type(block) is Text and block.at == message.at and block.cache is None
                self._put("assistant", written, whole=plain)
                empty = False
        if empty and not any(type(block) in (Thinking, Opaque) for block in content):
            self._losses.dropped(message.at, "an empty turn")

    def _assistant_block(self, block: Block) -> dict[str, Any] | None:
        if type(block) is ToolCall:
            return self._call(block)
        if type(block) is Thinking:
            return self._thinking(block)
        return self._writer.content(block)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        # A call of a new turn must not count as one of the turn that it ends.
        self._turn("assistant")
        self._calls += 1
        client_id = call.id or made_tool_id("", self._calls, "toolu_")
        # Some servers count anew in every turn; here an id stands for one call in the whole conversation.
        before = self._seen.get(client_id, 0)
        self._seen[client_id] = before + 1
        id_ = self._ids(f"{client_id}#{before}" if before else client_id)
        self._open.add((id_, call.at), client_id)
        self.names[call.name] = None
        if call.signature and not self._signed_calls:
            self._losses.dropped(f"{call.at}.signature", "of another provider")
        return self._writer.call(call, id_, tool_name(call.name))

    def _thinking(self, block: Thinking) -> dict[str, Any] | None:
        """Only what the provider signed goes back, and on a model that checks it nothing after the first loss."""
        written = self._writer.thinking(block)
        if written is None or (self._bound_thinking and self._thinking_lost):
            self._thinking_lost = True
            why = "earlier thinking is missing" if written is not None else "not signed by this provider"
            self._losses.dropped(block.at, why)
            return None
        self.replays_thinking = True
        return written

    # ---- system messages in mid-conversation (Anthropic, "Mid-conversation system messages")

    def _system(self, message: Message) -> None:
        if any(block.text for block in system_texts(message, self._losses)):
            if self._mid_system:
                self._held.append(_Held(message))
            else:
                self._wrap(message)

    def _wrap(self, message: Message) -> None:
        texts = system_texts(message, self._losses)
        for block in texts:
            self._losses.extra(block.at, block.extra)
        joined = "\n".join(block.text for block in texts if block.text)
        cache = next((block.cache for block in reversed(texts) if block.cache), None)
        self._losses.rewritten(message.at, "a system message in mid-conversation becomes a part of the user's turn")
        written = self._writer.text(Text(as_aside(joined), message.at, cache))
        if written is not None:
            self._put("user", written)

    def _release(self) -> None:
        """The user's turn is over: the system messages that came before or in it follow now. Where there was no such
        turn, the API allows none."""
        held, self._held = self._held, []
        allowed = bool(self.turns) and self.turns[-1].role == "user"
        for item in held:
            message = item.message
            if not allowed:
                self._wrap(message)
                continue
            if item.passed:
                self._losses.add(message.at, Action.MOVED, "behind the user's turn")
            written = [self._writer.text(block) for block in system_texts(message, self._losses)]
            text = message.content if type(message.content) is str else None
            self.turns.append(Turn("system", blocks=[block for block in written if block is not None], text=text))


def with_leading_systems(request: Request, dialect: str, losses: LossReport) -> Request:
    """*request* of another *dialect*, whose system messages before anybody has spoken belong to the system prompt."""
    if request.dialect == dialect:
        return request
    messages = request.messages
    leading = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    if not leading:
        return request
    for message in messages[:leading]:
        losses.add(message.at, Action.MOVED, "to the system prompt")
    return replace(request, system=[*request.system, *messages[:leading]], messages=messages[leading:])


def system_texts(message: Message, losses: LossReport) -> list[Text]:
    """The texts of a system message. Raises Unsupported for media."""
    if type(message.content) is str:
        return [Text(message.content, message.at)]
    texts: list[Text] = []
    for block in message.content:
        if type(block) is Text:
            texts.append(block)
        elif isinstance(block, Opaque | ToolChange):
            losses.dropped(block.at)
        else:
            at = getattr(block, "at", message.at)
            raise Unsupported(at, "system content can only be text for this model")
    return texts


def in_order(blocks: list[Block]) -> list[Block]:
    """The blocks of an assistant's message in the order in which the model wrote them. APIs that keep thinking apart
    from the rest give it first, with each block's position in the original (``index``)."""
    thinking = [block for block in blocks if type(block) is Thinking]
    count = len(thinking)
    if not count or any(type(block) is not Thinking for block in blocks[:count]):
        return blocks
    placed = {block.index: block for block in reversed(thinking) if block.index is not None}
    out: list[Block] = [block for block in thinking if block.index is None or placed[block.index] is not block]
    others = iter(blocks[count:])
    position = 0
    while placed:
        following = placed.pop(position, None) or next(others, None)
        if following is None:
            out += [placed[index] for index in sorted(placed)]
            break
        out.append(following)
        position += 1
    return [*out, *others]
