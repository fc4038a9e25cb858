"""The items of a request's input, read as messages.

What the model said in a row, its thinking, texts and calls, is one message, as other APIs have it; what others said is
a message each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ...llm import marker
from ...llm.events import Extra
from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import Block, Member, Message, Opaque, Text, Thinking, Tool, ToolCall, ToolResult
from ..base import encode
from .names import SEARCH, ToolNames
from .parse_content import content
from .parse_tools import read_tools
from .words import CLAUDE, NAME, read_carrier, read_seal

_ROLES = ("user", "assistant", "system", "developer")
_WIRE_ONLY = ("id", "status", "caller", "created_by", "type")
"""Members that mean nothing outside this API."""
_BY_MODEL = ("function_call", "custom_tool_call", "reasoning")
_KEPT_ELSEWHERE: Final = {
    "item_reference": "nothing is stored here: send the item itself, with store set to false",
    "compaction": "only the provider that made it can read what was compacted",
    "compaction_trigger": "this model does not compact a conversation",
}
"""Items that stand for what only the client's own provider has."""


class ItemReader:
    """Takes the items in their order. ``messages`` is what they say, ``tools`` what they bring along beside those that
    are *known* by name."""

    def __init__(self, names: ToolNames, extra: dict[str, Member], known: set[str]) -> None:
        self.messages: list[Message] = []
        self.tools: list[Tool] = []
        self._known = known
        self._names = names
        self._extra = extra
        self._turn: list[Block] = []
        self._turn_at = ""
        self._called = self._spoke = False  # the turn has calls, has texts
        self._last_answer = -1
        self._on: dict[str, Callable[[Fields, int], None]] = {
            "message": self._message,
            "function_call": self._function_call,
            "custom_tool_call": self._custom_call,
            "function_call_output": self._output,
            "custom_tool_call_output": self._output,
            "reasoning": self._reasoning,
            "tool_search_call": self._search_call,
            "tool_search_output": self._search_output,
            "additional_tools": self._additional_tools,
        }

    def read(self, items: list[Any]) -> None:
        """All of them, once. Raises ProtocolError."""
        self._last_answer = next((i for i in range(len(items) - 1, -1, -1) if _by_model(items[i])), -1)
        for i, item in enumerate(items):
            self._item(item, f"input[{i}]", i)
        self._end_turn()

    def _item(self, item: Any, at: str, index: int) -> None:
        if type(item) is not dict:
            raise ProtocolError(at, f"expected an object, got {json_type(item)}")
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference"
        if type(kind) is not str:
            raise ProtocolError(f"{at}.type", f"expected a string, got {json_type(kind)}")
        on = self._on.get(kind)
        if on is not None:
            on(Fields(item, at), index)
        elif kind in _KEPT_ELSEWHERE:
            problem = f"{at}: {kind} is not supported for this model: {_KEPT_ELSEWHERE[kind]}"
            self._extra[at] = Member(item, at, essential=True, problem=problem, stored=True)
        else:
            self._other(item, kind, at, index)

    def _other(self, item: dict[str, Any], kind: str, at: str, index: int) -> None:
        """An item that only this API knows. What the client answers to the model's last turn must not get lost."""
        if kind.endswith("_call"):
            self._say(Opaque(NAME, item, at), at)
            return
        self._end_turn()
        self.messages.append(Message("user", [Opaque(NAME, item, at, essential=index > self._last_answer)], at))

    # ---- turns

    def _say(self, block: Block, at: str) -> None:
        """*block* goes on with the model's turn, or begins one."""
        if not self._turn:
            self._turn_at = at
        self._turn.append(block)
        self._called = self._called or type(block) is ToolCall
        self._spoke = self._spoke or type(block) is Text

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, []
        self._called = self._spoke = False
        if not turn:
            return
        only = turn[0] if len(turn) == 1 else None
        plain = type(only) is Text and only.at == self._turn_at and only.extra is None
        said: str | list[Block] = only.text if plain else turn  # type: ignore[union-attr]
        self.messages.append(Message("assistant", said, self._turn_at))

    def _next_text(self) -> None:
        """Another message of the model's, or what led to it: one that is complete ends here, so that texts are not
        taken for one. What has calls waits for their results."""
        if self._spoke and not self._called:
            self._end_turn()

    # ---- what is said

    def _message(self, fields: Fields, index: int) -> None:
        at, role = fields.path, fields.take("role", str)
        if role not in _ROLES:
            raise ProtocolError(f"{at}.role", f"expected one of {', '.join(_ROLES)}, got {role!r}")
        fields.ignore(*_WIRE_ONLY)
        if "content" not in fields and role != "assistant":
            raise ProtocolError(f"{at}.content", "is missing")
        # An answer of calls alone, as clients of Chat Completions keep it, has none.
        said = content(fields.any("content") or "", f"{at}.content", role)
        if role == "assistant":
            fields.ignore("phase")  # of an agent's own turns: commentary, or the answer
            self._next_text()
            for block in _with_extra([Text(said, at)] if isinstance(said, str) else said, fields.rest()):
                self._say(block, at)
            return
        self._end_turn()
        ours: Any = "user" if role == "user" else "system"
        self.messages.append(Message(ours, said, at, extra=fields.rest()))

    def _reasoning(self, fields: Fields, index: int) -> None:
        at, sealed = fields.path, fields.maybe("encrypted_content", str)
        fields.ignore(*_WIRE_ONLY)
        summary, full = fields.lenient("summary", list, []), fields.lenient("content", list, [])
        text = _joined(full) or _joined(summary)
        thinking = _thinking(text, sealed, at)
        if thinking:
            self._next_text()
        for block in thinking:
            self._say(block, at)

    # ---- calls and their results

    def _function_call(self, fields: Fields, index: int) -> None:
        fields.ignore(*_WIRE_ONLY)
        (id_, signature), name, namespace = _called(fields)
        arguments = fields.any("arguments")
        if type(arguments) is dict:
            arguments = encode(arguments).decode()
        if type(arguments) is not str and arguments is not None:
            raise ProtocolError(fields.at("arguments"), f"expected a string, got {json_type(arguments)}")
        flat = self._names.flat(name, namespace)
        call = ToolCall(id_, flat, arguments or "", at=fields.path, extra=fields.rest(), signature=signature)
        self._say(call, fields.path)

    def _custom_call(self, fields: Fields, index: int) -> None:
        fields.ignore(*_WIRE_ONLY)
        (id_, signature), name, namespace = _called(fields)
        flat, text, at = self._names.flat(name, namespace), fields.take("input", str, ""), fields.path
        self._say(ToolCall(id_, flat, text, kind="custom", at=at, extra=fields.rest(), signature=signature), at)

    def _output(self, fields: Fields, index: int) -> None:
        # The name of the tool says nothing new.
        fields.ignore(*_WIRE_ONLY, "name", "namespace")
        id_, value = _call_id(fields)[0], fields.any("output")
        output = "" if value is None else content(value, fields.at("output"), "tool")
        self._result(ToolResult(id_, output, at=fields.path, extra=fields.rest()))

    def _result(self, result: ToolResult) -> None:
        self._end_turn()
        self.messages.append(Message("tool", [result], result.at))

    # ---- tools that come later

    def _search_call(self, fields: Fields, index: int) -> None:
        if fields.any("execution") != "client":
            return  # the provider searched among the tools of the request, which are all sent
        fields.ignore(*_WIRE_ONLY)
        (id_, signature), value = _call_id(fields), fields.any("arguments")
        given = value if type(value) is dict else {}
        call = ToolCall(id_, SEARCH, input=given, at=fields.path, extra=fields.rest(), signature=signature)
        self._say(call, fields.path)

    def _search_output(self, fields: Fields, index: int) -> None:
        found = fields.take("tools", list, [])
        if fields.any("execution") != "client":
            return
        told = encode(found).decode()
        self._load(found, fields.at("tools"))
        self._result(ToolResult(_call_id(fields)[0], told, at=fields.path))

    def _additional_tools(self, fields: Fields, index: int) -> None:
        self._load(fields.take("tools", list), fields.at("tools"))

    def _load(self, values: list[Any], at: str) -> None:
        for tool in read_tools(values, at, self._names, self._extra):
            if tool.name not in self._known:
                self._known.add(tool.name)
                self.tools.append(tool)


def _by_model(item: Any) -> bool:
    if type(item) is not dict:
        return False
    return item.get("type") in _BY_MODEL or item.get("role") == "assistant"


def _with_extra(blocks: list[Block], extra: Extra | None) -> list[Block]:
    """Members of a message that nobody knows, kept by its first text: in a turn of several items it is no message."""
    first = blocks[0] if blocks else None
    if extra is None or not isinstance(first, Text):
        return blocks
    return [replace(first, extra={**(first.extra or {}), **extra}), *blocks[1:]]


def _called(fields: Fields) -> tuple[tuple[str, str | None], str, str]:
    """A call's id and signature, the tool's name and its namespace."""
    return _call_id(fields), fields.take("name", str), fields.take("namespace", str, "")


def _call_id(fields: Fields) -> tuple[str, str | None]:
    """A call's id, and what its provider signed it with, which came sealed behind the id."""
    return marker.unsealed_id(fields.maybe("call_id", str) or "")


def _thinking(text: str, sealed: str | None, at: str) -> list[Thinking]:
    if not sealed:
        return [Thinking(text, at=at)] if text else []
    carried = read_carrier(sealed)
    if carried is not None:
        return [Thinking(each.text, each.signature, each.encrypted, CLAUDE, at=at) for each in carried]
    seal = read_seal(sealed)
    return [Thinking(text, seal.signature, seal.encrypted, seal.signer, at=at)]


def _joined(parts: list[Any]) -> str:
    found = [part.get("text") for part in parts if type(part) is dict]
    return "\n\n".join(text for text in found if type(text) is str and text)
