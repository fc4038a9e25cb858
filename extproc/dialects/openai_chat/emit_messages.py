"""A conversation as Chat messages.

Append-only: what becomes of a message depends on what came before it and on its own turn, because the providers' caches
look at the exact prefix. The API wants the results of a turn's calls directly after them; whatever came between waits
until the last result is there. What an interrupted turn left (a call without its result, a result without its call) is
told in words: it stays in the history, so refusing it would end the conversation for good.
"""

from __future__ import annotations

from typing import Any, Final

from ...capabilities import Capabilities
from ...llm import marker
from ...llm.events import Extra
from ...llm.failures import Unsupported
from ...llm.losses import Action
from ...llm.request import Block, CacheMarker, Image, Message, Opaque, Text, Thinking, ToolCall, ToolChange, ToolResult
from ..base import Members, encode
from ..shared.content import BARE_TEXT, plainly
from ..shared.freeform import wrapped
from ..shared.history import NO_RESULT, as_aside
from ..shared.media import tag
from ..shared.naming import ToolIds, made_tool_id, tool_name
from ..shared.open_calls import OpenCalls
from .emit_parts import PartWriter, text_part
from .signatures import STAND_IN, signed

NO_THOUGHT: Final = " "
"""Of a call that was made without thinking, or with what this server cannot read: DeepSeek and Kimi refuse a call that
has no thinking beside it, and Kimi an empty one."""
BETWEEN: Final = "..."
"""What an assistant says of whom nothing is known, for a chat template that wants one to speak."""


class Conversation:
    """Takes the messages in their order, gives what is sent (``written``)."""

    def __init__(self, parts: PartWriter, row: Capabilities) -> None:
        self.written: list[Members] = []
        self.names: dict[str, None] = {}
        """The tools that were called, by the client's names, in order."""
        self._parts = parts
        self._losses = parts.losses
        self._row = row
        self._ids = ToolIds(max_length=row.max_id)
        self._calls = 0
        self._open = OpenCalls()  # by the client's id: the id as sent and the path
        self._pieces: dict[tuple[int, str], list[Any]] = {}  # what becomes of a member of a message, by its index
        self._speaker = ""  # whose message was the last one, systems aside
        self._held: list[Members] = []
        self._lifted: list[Members] = []  # media of results, for the user's message behind them
        self._last = "messages"  # where the last message stands

    def system(self, messages: list[Message], instruction: str | None) -> None:
        """The leading system messages as one, joined: that is what every server understands."""
        texts = [text for message in messages for text in self._system_texts(message)]
        if instruction is not None:
            texts.append(text_part(instruction))
        if texts:
            self._put({"role": self._row.system_role, "content": _joined(texts)})

    def add(self, message: Message) -> None:
        """Raises Unsupported for content that this API cannot carry."""
        self._last = message.at
        if message.role == "system":
            self._mid_system(message)
            return
        if message.role == "assistant":
            self._assistant(message)
        else:
            self._losses.extra(message.at, message.extra)
            self._user(message)
        self._speaker = message.role

    def _mid_system(self, message: Message) -> None:
        self._settle_unless_waiting()
        texts = self._system_texts(message)
        if not texts:
            return
        if self._row.mid_system:
            self._put({"role": self._row.system_role, "content": _joined(texts)})
            return
        self._losses.rewritten(message.at, "a system message in mid-conversation becomes a part of the user's turn")
        if any(text.keys() != BARE_TEXT for text in texts):
            self._losses.dropped(f"{message.at}.cache_control", cost_only=True)
        self._put({"role": "user", "content": as_aside("\n".join(text["text"] for text in texts))})

    def end(self) -> None:
        """The last message was added. Raises Unsupported when the conversation ends in calls, or nothing is left."""
        if self._open and self._speaker == "assistant":
            at = self._open.rest()[0][1]
            raise Unsupported(at, f"{at}: the tool call has no result", "invalid_value")
        self._settle()
        for (index, name), pieces in self._pieces.items():
            self.written[index][name] = _merged([piece for piece in pieces if piece])
        if not self.written:
            raise Unsupported("messages", "messages must hold at least one message that is not empty", "invalid_value")
        if self.written[-1]["role"] == "assistant":
            self._losses.add(self._last, Action.DOWNGRADED, "this API answers anew instead of continuing a turn")

    # ---- turns

    def _put(self, message: Members) -> None:
        if self._open and message["role"] != "tool":
            self._held.append(message)
            return
        last = self.written[-1] if self.written else None
        if last is None:
            self.written.append(message)
        elif last["role"] == "tool" and message["role"] == "user" and not self._row.user_after_tool:
            self._behind_a_result(message)
        elif self._row.alternate_roles and _mergeable(last, message):
            self._merge("content", message["content"])
        else:
            self.written.append(message)

    def _behind_a_result(self, message: Members) -> None:
        """For a chat template that lets no user speak behind a tool."""
        if (text := _only_text(message["content"])) is not None:
            self._merge("content", text)
            return
        self._losses.add("messages", Action.SYNTHESIZED, "an assistant's turn between a result and the user")
        self.written += [{"role": "assistant", "content": BETWEEN}, message]

    def _merge(self, name: str, value: Any) -> None:
        """Add *value* to member *name* of the last message; they are joined at the end, once."""
        place = (len(self.written) - 1, name)
        if (pieces := self._pieces.get(place)) is None:
            pieces = self._pieces[place] = [self.written[-1].get(name)]
        pieces.append(value)

    def _settle(self) -> None:
        """The results are over: what waited for them follows."""
        for id_, at in self._open.rest():
            self._losses.add(at, Action.SYNTHESIZED, "a result of the call, which has none")
            self._put({"role": "tool", "tool_call_id": id_, "content": NO_RESULT})
        lifted, self._lifted = self._lifted, []
        if lifted:
            self._put({"role": "user", "content": self._content(lifted, "messages")})
        held, self._held = self._held, []
        for message in held:
            self._put(message)

    def _content(self, parts: list[Members], at: str) -> str | list[Members]:
        content: str | list[Members] = plainly(parts)
        if type(content) is str or self._row.content_parts:
            return content
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if len(texts) < len(parts):
            self._losses.dropped(at, "only text is supported for this model")
            texts.append("[media omitted: the model takes only text]")
        return "\n\n".join(texts)

    # ---- system

    def _system_texts(self, message: Message) -> list[Members]:
        self._losses.extra(message.at, message.extra)
        if type(message.content) is str:
            return [text_part(message.content)] if message.content else []
        texts: list[Members] = []
        for block in message.content:
            if type(block) is Text:
                texts += self._parts.parts(block)
            elif isinstance(block, Opaque | ToolChange):
                self._losses.dropped(block.at)
            else:
                raise Unsupported(getattr(block, "at", message.at), "system content can only be text for this model")
        return texts

    # ---- users and tools

    def _user(self, message: Message) -> None:
        content = message.content
        if type(content) is str:
            self._settle_unless_waiting()
            self._put(_named({"role": "user", "content": content}, message))
            return
        orphans: list[Members] = []
        for block in content:
            if type(block) is ToolResult:
                orphans += self._result(block)
        others = [block for block in content if type(block) is not ToolResult]
        lifted: list[Members] = []
        if not self._open:
            lifted, self._lifted = self._lifted, []
        parts = lifted + orphans
        for block in others:
            parts += self._parts.parts(block)  # type: ignore[arg-type]
        if parts:
            self._put(_named({"role": "user", "content": self._content(parts, message.at)}, message))
        self._settle_unless_waiting()

    def _settle_unless_waiting(self) -> None:
        if not self._open:
            self._settle()

    def _result(self, result: ToolResult) -> list[Members]:
        """Writes the result behind its call. One that answers no open call is given as parts of the user's."""
        found = self._open.take(result.id) if result.id else self._open.take_first()
        self._losses.extra(result.at, result.extra)
        if found is None:
            return self._orphan(result)
        text = self._result_text(result, found[0])
        mark = self._parts.marks.on_text(_mark_of(result)) if text else {}
        if result.is_error:
            self._losses.rewritten(f"{result.at}.is_error", "as text")
            if not text.lower().startswith("error"):
                text = f"Error: {text}"
        self._put({"role": "tool", "tool_call_id": found[0], "content": [text_part(text) | mark] if mark else text})
        return []

    def _orphan(self, result: ToolResult) -> list[Members]:
        why = "as text: it answers no tool call of the turn before it, or one that is answered already"
        self._losses.add(result.at, Action.DOWNGRADED, why)
        content: list[Block] = [Text(result.content)] if type(result.content) is str else result.content  # type: ignore[assignment]
        parts = [text_part(tag("tool_result", id=result.id))]
        for block in content:
            parts += self._parts.parts(block)
        return [*parts, text_part("</tool_result>") | self._parts.marks.on_text(result.cache)]

    def _result_text(self, result: ToolResult, id_: str) -> str:
        """The result as text, which is all that this API's tools can say; media follow in a user's message."""
        if type(result.content) is str:
            return result.content
        texts: list[str] = []
        counts: dict[str, int] = {}
        for block in result.content:
            text = self._parts.plain(block)  # type: ignore[arg-type]
            if text is None:
                parts = self._parts.parts(block)  # type: ignore[arg-type]
                kind = "image" if type(block) is Image else "document"
                if all(part["type"] == "text" for part in parts):
                    # What stands for something that this model cannot take.
                    texts += [part["text"] for part in parts]
                    continue
                counts[kind] = counts.get(kind, 0) + bool(parts)
                label = f"{kind} {counts[kind]} of tool result {id_}"
                if parts:
                    self._lifted += [text_part(f"[{label}]"), *parts]
                    self._losses.rewritten(result.at, "media follow in a user message")
                    texts.append(f"[{label} follows]")
            elif text:
                texts.append(text)
        return "\n".join(texts)

    # ---- the assistant

    def _assistant(self, message: Message) -> None:
        self._losses.extra(message.at, message.extra)
        joins = bool(self._open) and self._speaker == "assistant"
        if not joins:
            self._settle()
        plain: str = message.content if type(message.content) is str else ""
        content: list[Block] = [] if type(message.content) is str else message.content  # type: ignore[assignment]
        calls = [self._call(block) for block in content if type(block) is ToolCall]
        if calls and self._row.call_signatures and self._row.call_signatures_needed:
            calls[0] = signed(STAND_IN) | calls[0]
        self._report_order(message.at, content)
        text = plain or self._text_of([block for block in content if type(block) is Text], _mark_of_calls(content))
        out: Members = {"role": "assistant", "content": text or None}
        out |= self._reasoning([block for block in content if type(block) is Thinking])
        if calls:
            out["tool_calls"] = calls
            if self._row.reasoning_field == "reasoning_content" and not joins:
                out.setdefault("reasoning_content", NO_THOUGHT)
        for block in content:
            if type(block) not in (Text, ToolCall, Thinking):
                # What another provider's own tools did: nothing that this one could use.
                self._losses.dropped(block.at)
        if not text and not calls:
            if len(out) == 2:
                if not any(type(block) is not Text for block in content):
                    self._losses.dropped(message.at, "an empty turn")
                return
            out["content"] = ""
        if joins:
            self._continue(out)
        elif not calls:
            self._put(_named(out, message))
        else:
            # Its own calls are open, but it does not wait for their results.
            opened, self._open = self._open, OpenCalls()
            self._put(_named(out, message))
            self._open = opened

    def _text_of(self, texts: list[Text], behind: CacheMarker | None) -> str | list[Members]:
        """What an assistant said, as one text; as parts where a cache mark stands in it. *behind*: the mark of a call,
        which the last text bears."""
        parts = [text_part("")]
        for n, block in enumerate(texts):
            cache = block.cache
            if n == len(texts) - 1 and cache is None:
                cache, behind = behind, None
            parts[-1]["text"] += self._parts.text(block)
            if parts[-1]["text"] and (mark := self._parts.marks.on_text(cache)):
                parts[-1] |= mark
                parts.append(text_part(""))
        self._parts.marks.dropped(behind)
        if len(parts) == 1:
            only: str = parts[0]["text"]
            return only
        return [part for part in parts if part["text"]]

    def _continue(self, more: Members) -> None:
        """Make *more* a part of the assistant's turn that came last, whose calls wait for their results."""
        self.written[-1].setdefault("tool_calls", []).extend(more.get("tool_calls", ()))
        for name in ("content", "reasoning", "reasoning_content"):
            if more.get(name):
                self._merge(name, more[name])
        if "reasoning_details" in more:
            self.written[-1].setdefault("reasoning_details", []).extend(more["reasoning_details"])

    def _report_order(self, at: str, content: list[Block]) -> None:
        called = False
        for block in content:
            if called and type(block) is Text and block.text:
                self._losses.rewritten(at, "texts go before calls")
                return
            called = called or type(block) is ToolCall

    def _call(self, call: ToolCall) -> Members:
        self._losses.extra(call.at, call.extra)
        self._calls += 1
        id_ = self._ids(call.id or made_tool_id("", self._calls, "call_"))
        self._open.add((id_, call.at), call.id)
        self.names[call.name] = None
        name, signature = tool_name(call.name), self._signature(call)
        if call.kind == "custom" and self._row.custom_tools:
            custom = {"name": name, "input": call.arguments or ""}
            return {"id": id_, "type": "custom", "custom": custom, **signature}
        if call.kind == "custom":
            arguments = wrapped(call.arguments or "")
        elif call.arguments is None:
            arguments = encode(call.input or {}).decode()
        else:
            arguments = call.arguments if call.arguments.strip() else "{}"
        return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}, **signature}

    def _signature(self, call: ToolCall) -> Extra:
        if call.signature and not self._row.call_signatures:
            self._losses.dropped(f"{call.at}.signature", "of another provider")
            return {}
        return signed(call.signature)

    # ---- thinking of earlier turns

    def _reasoning(self, blocks: list[Thinking]) -> Extra:
        """As the server takes it back: not at all, as one text, or with its seals."""
        if not blocks:
            return {}
        field = self._row.reasoning_field
        for block in blocks:
            self._losses.extra(block.at, block.extra)
            if field == "none":
                self._losses.dropped(block.at, "this API takes no thinking back")
            elif field != "reasoning_details" and not block.text:
                self._losses.dropped(block.at, "thinking that only its own provider can read")
        text = "".join([block.text for block in blocks])
        if field == "none":
            return {}
        if field != "reasoning_details":
            return {field: text} if text else {}
        out: Extra = {"reasoning": text} if text else {}
        if any(_sealed(block) for block in blocks):
            out["reasoning_details"] = [_detail(block, position) for position, block in enumerate(blocks)]
        return out


def _mark_of_calls(content: list[Block]) -> CacheMarker | None:
    return next((block.cache for block in reversed(content) if type(block) is ToolCall and block.cache), None)


def _mark_of(result: ToolResult) -> CacheMarker | None:
    """The mark of a result, or the last one in it."""
    if result.cache is not None or type(result.content) is str:
        return result.cache
    return next((block.cache for block in reversed(result.content) if getattr(block, "cache", None)), None)  # type: ignore[union-attr]


def _joined(texts: list[Members]) -> str | list[Members]:
    """Texts of a system message: one string, unless one of them bears a cache marker."""
    if any(len(text) > len(BARE_TEXT) for text in texts):
        return texts
    return "\n\n".join([text["text"] for text in texts])


def _only_text(content: str | list[Members]) -> str | None:
    if isinstance(content, str):
        return content
    if any(part.keys() != BARE_TEXT for part in content):
        return None
    return "\n\n".join(part["text"] for part in content)


def _sealed(block: Thinking) -> bool:
    return bool(block.encrypted or block.signature) and block.signer != marker.SIGNER


def _detail(block: Thinking, position: int) -> Extra:
    index = position if block.index is None else block.index
    seal = block.signer or None
    if block.encrypted:
        return {"type": "reasoning.encrypted", "data": block.encrypted, "format": seal, "index": index}
    if not _sealed(block):
        return {"type": "reasoning.text", "text": block.text, "format": None, "index": index}
    return {
        "type": "reasoning.text", "text": block.text, "signature": block.signature, "format": seal, "index": index,
    }  # fmt: skip


def _named(out: Members, message: Message) -> Members:
    return {**out, "name": message.name} if message.name else out


def _mergeable(last: Members, message: Members) -> bool:
    """Neighbours that a strict chat template would refuse, and that can be told as one."""
    same = last["role"] == message["role"] and message["role"] in ("user", "assistant")
    return same and not (last.keys() | message.keys()) - {"role", "content"}


def _merged(pieces: list[str | list[Members]]) -> str | list[Members]:
    if all(isinstance(piece, str) for piece in pieces):
        return "\n\n".join(pieces)  # type: ignore[arg-type]
    return [part for piece in pieces for part in _as_parts(piece)]


def _as_parts(content: str | list[Members]) -> list[Members]:
    return [text_part(content)] if isinstance(content, str) else content
