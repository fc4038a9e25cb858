"""A conversation as Chat messages.

Append-only: what becomes of a message depends on what came before it and on its own turn, because the providers' caches
look at the exact prefix. The API wants the results of a turn's calls directly after them; whatever came between waits
until the last result is there.
"""

from __future__ import annotations

from typing import Any

from ...capabilities import Capabilities
from ...llm import marker
from ...llm.events import Extra
from ...llm.failures import Unsupported
from ...llm.losses import Action
from ...llm.request import Block, Image, Message, Text, Thinking, ToolCall, ToolResult
from ..base import encode
from ..shared.freeform import wrapped
from ..shared.naming import ToolIds, made_tool_id, tool_name
from .emit_parts import Part, PartWriter, text_part
from .signatures import STAND_IN, signed

Written = dict[str, Any]


class Conversation:
    """Takes the messages in their order, gives what is sent (``written``)."""

    def __init__(self, parts: PartWriter, row: Capabilities) -> None:
        self.written: list[Written] = []
        self.names: dict[str, None] = {}
        """The tools that were called, by the client's names, in order."""
        self._parts = parts
        self._losses = parts.losses
        self._row = row
        self._ids = ToolIds(max_length=row.max_id)
        self._calls = 0
        self._open: list[tuple[str, str, str]] = []  # the client's id, the id as sent, the path: not yet answered
        self._held: list[Written] = []
        self._lifted: list[Part] = []  # media of results, for the user's message behind them
        self._last = "messages"  # where the last message stands

    def system(self, messages: list[Message], instruction: str | None) -> None:
        """The leading system messages as one, joined: that is what every server understands."""
        texts = [text for message in messages for text in self._system_texts(message)]
        if instruction is not None:
            texts.append(instruction)
        if texts:
            self._put({"role": self._row.system_role, "content": "\n\n".join(texts)})

    def add(self, message: Message) -> None:
        """Raises Unsupported for content that this API cannot carry, and for results that answer no call."""
        self._last = message.at
        match message.role:
            case "system":
                self._settle_unless_waiting()
                if texts := self._system_texts(message):
                    self._put({"role": self._row.system_role, "content": "\n\n".join(texts)})
            case "assistant":
                self._assistant(message)
            case _:
                self._losses.extra(message.at, message.extra)
                self._user(message)

    def end(self) -> None:
        """The last message was added. Raises Unsupported when a call has no result, or nothing is left to send."""
        self._settle()
        if not self.written:
            raise Unsupported("messages", "messages must hold at least one message that is not empty", "invalid_value")
        if self.written[-1]["role"] == "assistant":
            self._losses.add(self._last, Action.DOWNGRADED, "this API answers anew instead of continuing a turn")

    # ---- turns

    def _put(self, message: Written) -> None:
        if self._open and message["role"] != "tool":
            self._held.append(message)
            return
        last = self.written[-1] if self.written else None
        if self._row.alternate_roles and last is not None and _mergeable(last, message):
            last["content"] = _merged(last["content"], message["content"])
        else:
            self.written.append(message)

    def _settle(self) -> None:
        """The results are over: what waited for them follows."""
        for _, _, at in self._open:
            raise Unsupported(at, f"{at}: the tool call has no result", "invalid_value")
        lifted, self._lifted = self._lifted, []
        if lifted:
            self._put({"role": "user", "content": self._content(lifted, "messages")})
        held, self._held = self._held, []
        for message in held:
            self._put(message)

    def _content(self, parts: list[Part], at: str) -> str | list[Part]:
        if self._row.content_parts:
            return parts
        if any(part["type"] != "text" for part in parts):
            raise Unsupported(at, "only text is supported for this model")
        return "\n\n".join(part["text"] for part in parts)

    # ---- system

    def _system_texts(self, message: Message) -> list[str]:
        self._losses.extra(message.at, message.extra)
        if type(message.content) is str:
            return [message.content] if message.content else []
        texts = []
        for block in message.content:
            if type(block) is not Text:
                raise Unsupported(getattr(block, "at", message.at), "system content can only be text for this model")
            texts.append(self._parts.text(block))
        return [text for text in texts if text]

    # ---- users and tools

    def _user(self, message: Message) -> None:
        content = message.content
        if type(content) is str:
            self._settle_unless_waiting()
            self._put(_named({"role": "user", "content": content}, message))
            return
        results = [block for block in content if type(block) is ToolResult]
        for result in results:
            self._result(result)
        others = [block for block in content if type(block) is not ToolResult]
        lifted: list[Part] = []
        if not self._open:
            lifted, self._lifted = self._lifted, []
        parts = lifted + [part for block in others for part in self._parts.parts(block)]  # type: ignore[arg-type]
        if parts:
            self._put(_named({"role": "user", "content": self._content(parts, message.at)}, message))
        self._settle_unless_waiting()

    def _settle_unless_waiting(self) -> None:
        if not self._open:
            self._settle()

    def _result(self, result: ToolResult) -> None:
        found = next((call for call in self._open if call[0] == result.id), None)
        if found is None and not result.id and self._open:
            found = self._open[0]
        if found is None:
            problem = "the result answers no tool call of the turn before it, or one that is answered already"
            raise Unsupported(result.at, f"{result.at}: {problem}", "invalid_value")
        self._open.remove(found)
        self._parts.cached(result.cache)
        self._losses.extra(result.at, result.extra)
        text = self._result_text(result, found[1])
        if result.is_error:
            self._losses.rewritten(f"{result.at}.is_error", "as text")
            if not text.lower().startswith("error"):
                text = f"Error: {text}"
        self._put({"role": "tool", "tool_call_id": found[1], "content": text})

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
        self._settle()
        content: list[Block] = (
            [Text(message.content, message.at)] if type(message.content) is str else message.content  # type: ignore[assignment]
        )
        texts = [self._parts.text(block) for block in content if type(block) is Text]
        calls = [self._call(block) for block in content if type(block) is ToolCall]
        if calls and self._row.call_signatures and self._row.call_signatures_needed:
            calls[0] = signed(STAND_IN) | calls[0]
        self._report_order(message.at, content)
        text = "".join(texts)
        out: Written = {"role": "assistant", "content": text or None}
        out |= self._reasoning([block for block in content if type(block) is Thinking])
        if calls:
            out["tool_calls"] = calls
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
        # Its own calls are open, but it does not wait for their results.
        opened, self._open = self._open, []
        self._put(_named(out, message))
        self._open = opened

    def _report_order(self, at: str, content: list[Block]) -> None:
        called = False
        for block in content:
            if called and type(block) is Text and block.text:
                self._losses.rewritten(at, "texts go before calls")
                return
            called = called or type(block) is ToolCall

    def _call(self, call: ToolCall) -> Written:
        self._parts.cached(call.cache)
        self._losses.extra(call.at, call.extra)
        self._calls += 1
        id_ = self._ids(call.id or made_tool_id("", self._calls, "call_"))
        self._open.append((call.id, id_, call.at))
        self.names[call.name] = None
        name, signature = tool_name(call.name), self._signature(call)
        if call.kind == "custom" and self._row.custom_tools:
            return {"id": id_, "type": "custom", "custom": {"name": name, "input": call.arguments or ""}} | signature
        if call.kind == "custom":
            arguments = wrapped(call.arguments or "")
        elif call.arguments is None:
            arguments = encode(call.input or {}).decode()
        else:
            arguments = call.arguments if call.arguments.strip() else "{}"
        return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}} | signature

    def _signature(self, call: ToolCall) -> Extra:
        if call.signature and not self._row.call_signatures:
            self._losses.dropped(f"{call.at}.signature", "of another provider")
            return {}
        return signed(call.signature)

    # ---- thinking of earlier turns

    def _reasoning(self, blocks: list[Thinking]) -> Extra:
        """As the server takes it back: not at all, as one text, or with its seals."""
        field = self._row.reasoning_field
        for block in blocks:
            self._losses.extra(block.at, block.extra)
            if field == "none":
                self._losses.dropped(block.at, "this API takes no thinking back")
            elif field != "reasoning_details" and not block.text:
                self._losses.dropped(block.at, "thinking that only its own provider can read")
        text = "".join(block.text for block in blocks)
        if field == "none" or not blocks:
            return {}
        if field != "reasoning_details":
            return {field: text} if text else {}
        out: Extra = {"reasoning": text} if text else {}
        if any(_sealed(block) for block in blocks):
            out["reasoning_details"] = [_detail(block, position) for position, block in enumerate(blocks)]
        return out


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


def _named(out: Written, message: Message) -> Written:
    return {**out, "name": message.name} if message.name else out


def _mergeable(last: Written, message: Written) -> bool:
    """Neighbours that a strict chat template would refuse, and that can be told as one."""
    same = last["role"] == message["role"] and message["role"] in ("user", "assistant")
    return same and not (last.keys() | message.keys()) - {"role", "content"}


def _merged(first: str | list[Part], second: str | list[Part]) -> str | list[Part]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_parts(first), *_as_parts(second)]


def _as_parts(content: str | list[Part]) -> list[Part]:
    return [text_part(content)] if isinstance(content, str) else content
