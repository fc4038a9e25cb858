"""A conversation as the items of a request's input.

Append-only: what becomes of a message depends on what came before it and on its own turn, because the provider's cache
looks at the exact prefix.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import Action
from ...llm.request import Block, CacheMarker, Message, Opaque, Text, Thinking, ToolCall, ToolResult
from ..base import Members, encode
from ..shared.content import plainly
from ..shared.freeform import wrapped
from ..shared.history import NO_RESULT
from ..shared.media import tag
from ..shared.naming import ToolIds, made_tool_id, tool_name
from ..shared.turns import in_order, system_texts
from .emit_content import PartWriter, text_part
from .words import NAME, SIGNER

Item = dict[str, Any]

MAX_CALL_ID: Final = 64


class _Open:
    """A call that waits for its result: the id that is sent, its path, and the type of the item that answers it."""

    __slots__ = ("answer", "at", "id")

    def __init__(self, id_: str, at: str, answer: str) -> None:
        self.id = id_
        self.at = at
        self.answer = answer


class Conversation:
    """Takes the messages in their order, gives the items (``written``)."""

    def __init__(self, parts: PartWriter, row: Capabilities, signer: str = SIGNER) -> None:
        self.written: list[Item] = []
        self.names: dict[str, None] = {}
        """The tools that were called, by the client's names, in order."""
        self._parts = parts
        self._losses = parts.losses
        self._row = row
        self._signer = signer
        self._ids = ToolIds(max_length=MAX_CALL_ID)
        self._calls = 0
        self._seen: dict[str, int] = {}
        self._open: OrderedDict[str, deque[_Open]] = OrderedDict()  # by the client's ids
        self._speaker = ""  # whose the last message was, systems aside

    def add(self, message: Message) -> None:
        """Raises Unsupported for content that this API cannot carry."""
        if message.name is not None:
            self._losses.dropped(f"{message.at}.name")
        self._losses.extra(message.at, message.extra)
        if message.role == "assistant" and self._speaker not in ("", "assistant"):
            self._answer_open()
        if message.role != "system":
            self._speaker = message.role
        match message.role:
            case "system":
                self._system(message)
            case "assistant":
                self._assistant(message)
            case _:
                self._user(message)

    def end(self, at: str) -> None:
        """The last message was added. Raises Unsupported when it calls a tool. *at*: where the client has its
        messages."""
        if self._speaker == "assistant":
            self._refuse_unanswered()
        self._answer_open()
        if not self.written:
            # A conversation of system messages only, or of blank ones: other APIs answer it.
            self._losses.add(at, Action.SYNTHESIZED, "a user's turn: this API demands one")
            self._put("user", ".")
        if _by_assistant(self.written[-1]):
            self._losses.add(at, Action.DOWNGRADED, "this API answers anew instead of continuing a turn")

    # ---- what is said

    def _put(self, role: str, content: Any) -> None:
        self.written.append({"type": "message", "role": role, "content": content})

    def _system(self, message: Message) -> None:
        parts = [part for block in system_texts(message, self._losses) for part in self._parts.parts(block)]
        if any(len(part) > 2 for part in parts):
            self._put(self._row.system_role, parts)
        elif parts:
            self._put(self._row.system_role, "\n\n".join(part["text"] for part in parts))

    def _user(self, message: Message) -> None:
        content = message.content
        if type(content) is str:
            if content:
                self._put("user", content)
            else:
                self._losses.dropped(message.at, "an empty turn")
            return
        said: list[Block] = []
        for block in content:
            if type(block) is ToolResult:
                said += self._result(block)
            elif type(block) is Opaque and block.dialect == NAME:
                self.written.append(block.content)
            else:
                said.append(block)  # type: ignore[arg-type]
        if parts := self._parts.content(said):
            self._put("user", plainly(parts))

    def _result(self, result: ToolResult) -> list[Block]:
        """Writes the result of a call. One that answers none is given as what the user says."""
        self._losses.extra(result.at, result.extra)
        id_ = result.id or next(iter(self._open), "")
        waiting = self._open.get(id_)
        if not waiting:
            why = "as text: it answers no tool call before it, or one that is answered already"
            self._losses.add(result.at, Action.DOWNGRADED, why)
            content: list[Block] = [Text(result.content)] if type(result.content) is str else result.content  # type: ignore[assignment]
            return [Text(tag("tool_result", id=result.id)), *content, Text("</tool_result>")]
        call = waiting.popleft()
        if not waiting:
            del self._open[id_]
        output = _joined(self._parts.content(result.content))
        if result.cache is not None:
            output = self._marked(output, result.cache)
        if result.is_error:
            output = self._failed(result, output)
        self.written.append({"type": call.answer, "call_id": call.id, "output": output})
        return []

    def _marked(self, output: str | list[Members], cache: CacheMarker) -> str | list[Members]:
        """*output*, the last text of which bears the mark, if it ends with one."""
        parts = [text_part(output)] if isinstance(output, str) else output
        if not parts or parts[-1]["type"] != "input_text" or len(parts[-1]) > 2 or not parts[-1]["text"]:
            self._parts.marks.dropped(cache)
            return output
        mark = self._parts.marks.on_text(cache)
        return [*parts[:-1], parts[-1] | mark] if mark else output

    def _failed(self, result: ToolResult, output: Any) -> Any:
        """This API has no mark for a tool that failed: its output says so."""
        self._losses.rewritten(f"{result.at}.is_error", "as text")
        if type(output) is str:
            return output if output.lower().startswith("error") else f"Error: {output}"
        return [{"type": "input_text", "text": "Error:"}, *output]

    # ---- the assistant

    def _assistant(self, message: Message) -> None:
        content = message.content
        blocks: list[Block] = [Text(content, message.at)] if type(content) is str else in_order(content)  # type: ignore[arg-type]
        last = max((n for n, block in enumerate(blocks) if _is_said(block)), default=-1)
        empty = True
        for n, block in enumerate(blocks):
            item = self._said(block, followed=n < last)
            if item is not None:
                self.written.append(item)
                empty = False
        if empty and all(type(block) is Text for block in blocks):
            self._losses.dropped(message.at, "an empty turn")

    def _said(self, block: Block, *, followed: bool) -> Item | None:
        match block:
            case Text():
                text = self._parts.text(block)
                self._parts.marks.dropped(block.cache)
                content: Any = [{"type": "refusal", "refusal": text}] if block.refusal else text
                return {"type": "message", "role": "assistant", "content": content} if text else None
            case ToolCall():
                return self._call(block)
            case Thinking():
                return self._thinking(block, followed=followed)
            case Opaque() if block.dialect == NAME:
                return block.content
        # What another provider's own tools did: nothing that this one could use.
        self._losses.dropped(block.at)
        return None

    def _call(self, call: ToolCall) -> Item:
        self._parts.marks.dropped(call.cache)
        self._losses.extra(call.at, call.extra)
        if call.signature:
            self._losses.dropped(f"{call.at}.signature", "of another provider")
        self._calls += 1
        client_id = call.id or made_tool_id("", self._calls, "call_")
        # Some servers count anew in every turn; here an id stands for one call in the whole conversation.
        before = self._seen.get(client_id, 0)
        self._seen[client_id] = before + 1
        id_ = self._ids(f"{client_id}#{before}" if before else client_id)
        custom = call.kind == "custom" and self._row.custom_tools
        kind = "custom_tool_call" if custom else "function_call"
        self._open.setdefault(client_id, deque()).append(_Open(id_, call.at, f"{kind}_output"))
        self.names[call.name] = None
        named = {"type": kind, "call_id": id_, "name": tool_name(call.name)}
        return named | ({"input": call.arguments or ""} if custom else {"arguments": _arguments(call)})

    def _refuse_unanswered(self) -> None:
        for calls in self._open.values():
            raise Unsupported(calls[0].at, f"{calls[0].at}: the tool call has no result", "invalid_value")

    def _answer_open(self) -> None:
        """What is not answered by now never will be: it stays in the history, so refusing it would end the session."""
        for calls in self._open.values():
            for call in calls:
                self._losses.add(call.at, Action.SYNTHESIZED, "a result of the call, which has none")
                self.written.append({"type": call.answer, "call_id": call.id, "output": NO_RESULT})
        self._open.clear()

    def _thinking(self, block: Thinking, *, followed: bool) -> Item | None:
        """Only what the provider sealed goes back, or to a server that reads it, the text itself; and only before what
        it led to: the API refuses it alone."""
        self._losses.extra(block.at, block.extra)
        if not followed:
            self._losses.dropped(block.at, "thinking that led to nothing")
            return None
        if block.signer == self._signer and block.encrypted and self._row.reasoning:
            summary = [{"type": "summary_text", "text": block.text}] if block.text else []
            return {"type": "reasoning", "summary": summary, "encrypted_content": block.encrypted}
        if block.text and self._row.reasoning_field != "none":
            return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": block.text}]}
        self._losses.dropped(block.at, "not sealed by this provider")
        return None


def _joined(output: str | list[Members]) -> str | list[Members]:
    """A tool's output as a text, if that is all that it is: every server takes one."""
    if isinstance(output, str) or any(part["type"] != "input_text" or len(part) > 2 for part in output):
        return output
    return "\n".join(part["text"] for part in output)


def _is_said(block: Block) -> bool:
    return type(block) is ToolCall or (type(block) is Text and bool(block.text))


def _arguments(call: ToolCall) -> str:
    if call.kind == "custom":
        return wrapped(call.arguments or "")
    if call.arguments is None:
        return encode(call.input or {}).decode()
    return call.arguments if call.arguments.strip() else "{}"


def _by_assistant(item: Item) -> bool:
    return item.get("role") == "assistant" or item["type"] == "reasoning"
