"""Which call a fragment belongs to. Servers give an index, or an id, or only a name, or an index that is always 0; some
change the id in mid-call, some tell a call's head under one index and its input under another.

A fragment without a name never begins a call, and a known id belongs to its call whatever the index. Where two calls
could be meant the response fails: a guess would run a tool with another's input.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...llm.failures import ProtocolError
from ..shared.fragments import place
from ..shared.naming import unused_id
from ..shared.toolinput import ToolInput

MAX_GOING_ON: Final = 1024
"""Calls that may go on at once, those without a name among them."""
_decode: Final = msgspec.json.Decoder().decode


class StreamedCall:
    """A call as far as it has come. ``block`` is ``None`` until it has started; until then its input waits in
    ``parts``."""

    __slots__ = ("block", "closed", "extra", "id", "index", "input", "kind", "name", "parts", "signature")

    def __init__(self, id_: str = "") -> None:
        self.id = id_
        self.index: int | None = None  # under which it began
        self.name = ""
        self.kind = "function"
        self.parts: list[str] = []
        self.input = ToolInput()
        self.block: int | None = None
        self.closed = False
        self.extra: dict[str, Any] | None = None
        self.signature: str | None = None

    @property
    def whole(self) -> bool:
        """Its input is an object that has closed, or it is over."""
        return self.closed or (self.kind == "function" and self.input.whole)

    @property
    def half(self) -> bool:
        """Some of its input has come, and not all."""
        return not self.whole and not self.input.blank

    def is_told_by(self, text: str) -> bool:
        """Whether *text* says its whole input again."""
        return self.input.is_told_by(text)


class Calls:
    """The calls of one response, in the order in which they were first heard of. *tools*: the names that a call may
    have."""

    def __init__(self, tools: frozenset[str]) -> None:
        self.all: list[StreamedCall] = []
        self._going_on: list[StreamedCall] = []
        self._tools = tools
        self._sorted: list[str] | None = None
        self._slots: dict[int, StreamedCall] = {}
        self._by_id: dict[str, StreamedCall] = {}
        self._ids: set[str] = set()

    def find(self, item: Mapping[str, Any], id_: str, name: str, text: str) -> StreamedCall:
        """The call that *item* of ``tool_calls`` goes on with, or a new one. Raises ProtocolError."""
        index = place(item.get("index"))
        call = known = self._by_id.get(id_)
        if call is not None:
            nothing = call.input.says_nothing
            if name and _is_whole(text) and call.whole and not nothing and not call.is_told_by(text):
                call = self.new(unused_id(id_, self._ids))
        else:
            call = self._slots.get(index) if index is not None else None
            if call is None:
                call = self.new() if name or not self.all else self._nameless(index, id_, text)
            elif not name and not id_ and text.strip():
                self._refuse_one_of_two(call)
            elif name and self._another(call, id_, name, text):
                call = self.new()
        if id_ and id_ not in self._by_id:
            self._by_id[id_] = call
            self._ids.add(id_)
        if call.index is None:
            call.index = index
        if index is not None and (call is not known or index not in self._slots):
            self._slots[index] = call
        return call

    def new(self, id_: str = "") -> StreamedCall:
        call = StreamedCall(id_)
        self.all.append(call)
        if len(self._going_on) >= MAX_GOING_ON and len(self.going_on()) >= MAX_GOING_ON:
            raise ProtocolError("tool_calls", f"more than {MAX_GOING_ON} calls at once")
        self._going_on.append(call)
        return call

    def going_on(self) -> list[StreamedCall]:
        """Those that are not closed, in their order."""
        self._going_on = [call for call in self._going_on if not call.closed]
        return self._going_on

    def before(self, call: StreamedCall) -> list[StreamedCall]:
        """Those before *call* that have not started."""
        going_on = self.going_on()
        return [each for each in going_on[: going_on.index(call)] if each.block is None]

    def known(self, id_: str) -> StreamedCall | None:
        return self._by_id.get(id_)

    def unused(self, id_: str, call: StreamedCall) -> str:
        """*id_*, or where another call has it already one of its own, for *call*."""
        own = unused_id(id_, self._ids)
        self._by_id.setdefault(own, call)
        return own

    def is_piece(self, name: str) -> bool:
        """Whether *name* is no tool's, and the beginning of one's."""
        if name in self._tools:
            return False
        if self._sorted is None:
            self._sorted = sorted(self._tools)
        # What begins so stands right behind it.
        at = bisect_left(self._sorted, name)
        return at < len(self._sorted) and self._sorted[at].startswith(name)

    def continues(self, call: StreamedCall, name: str) -> bool:
        """Whether *name* goes on with the name of *call*, of which no input has come."""
        return self.named(call, name) != call.name

    def named(self, call: StreamedCall, name: str) -> str:
        """The name of *call* with what *name* adds: a further piece, or all of it so far."""
        if not call.name or call.block is not None or call.parts or name == call.name or not self.is_piece(call.name):
            return call.name or name
        for longer in (call.name + name, name if name.startswith(call.name) else ""):
            if longer in self._tools or (longer and self.is_piece(longer)):
                return longer
        return call.name

    def unfinished(self) -> list[StreamedCall]:
        """Those that have a name, and whose input may go on."""
        return [call for call in self.going_on() if call.name and not call.whole]

    def _nameless(self, index: int | None, id_: str, text: str) -> StreamedCall:
        """A fragment without a name, of whose call nothing is known."""
        open_ = self.unfinished()
        if index is None:
            # Without indexes one call comes behind the other.
            last = self.all[-1]
            if text.strip() and not last.half:
                self._refuse_one_of_two(last)
            return last if not last.whole or not open_ else open_[-1]
        if not text.strip():
            return self.new()  # its name may follow
        if len(open_) > 1:
            raise ProtocolError("tool_calls", f"input under index {index}, which may be one of several calls'")
        return open_[0] if open_ else self.new() if id_ else self.all[-1]

    def _refuse_one_of_two(self, call: StreamedCall) -> None:
        """The first input that comes for *call*, by its place alone: at that place may be another that waits for its
        own."""
        if call.input.empty and any(
            each is not call and each.index == call.index and each.input.empty for each in self.unfinished()
        ):
            raise ProtocolError("tool_calls", "input that may be one of several calls'")

    def _another(self, call: StreamedCall, id_: str, name: str, text: str) -> bool:
        """Whether a slot's number stands for a call after *call*: bridges to other APIs say 0 for every one."""
        if not call.name or self.continues(call, name):
            return False
        if id_ and call.id:
            return not (name == call.name and call.half)
        if name != call.name:
            return True
        # A name may be repeated with each fragment, but not with another input behind one that is whole.
        if not call.whole or not text.lstrip().startswith("{"):
            return False
        return not call.id or (_is_whole(text) and not call.is_told_by(text))


def _is_whole(text: str) -> bool:
    given = ToolInput()
    try:
        given.feed(text)
    except ProtocolError:
        return False
    return given.whole


def choice_index(choice: Mapping[str, Any]) -> int | None:
    """The number of a choice; ``None`` where it has none."""
    return place(choice.get("index"))
