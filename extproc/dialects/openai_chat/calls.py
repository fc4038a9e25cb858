"""Which call a fragment belongs to. Servers give an index, or an id, or only a name, or an index that is always 0."""

from __future__ import annotations

from typing import Any

import msgspec

from ..base import encode

_decode = msgspec.json.Decoder().decode


class Call:
    """A call as far as it has come. ``block`` is ``None`` until it has started."""

    __slots__ = ("block", "closed", "extra", "id", "kind", "name", "parts", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.kind = "function"
        self.parts: list[str] = []
        self.block: int | None = None
        self.closed = False
        self.extra: dict[str, Any] | None = None
        self.signature: str | None = None

    @property
    def complete(self) -> bool:
        """Whether its input is a whole JSON value."""
        if self.kind == "custom":
            return False
        try:
            _decode("".join(self.parts))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class Calls:
    """The calls of one response, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self.all: list[Call] = []
        self._slots: dict[int, Call] = {}

    def find(self, item: dict[str, Any], id_: str, name: str) -> Call:
        """The call that *item* of ``tool_calls`` goes on with, or a new one."""
        index = item.get("index")
        if type(index) is int:
            call = self._slots.get(index)
            if call is None or _another(call, id_, name):
                call = self._slots[index] = self.new()
            return call
        if id_:
            known = next((call for call in self.all if call.id == id_), None)
            if known is not None:
                return known
        if name or not self.all:
            return self.new()
        return self.all[-1]

    def new(self) -> Call:
        call = Call()
        self.all.append(call)
        return call


def _another(call: Call, id_: str, name: str) -> bool:
    """Whether a slot's number stands for a call after *call*: bridges to other APIs say 0 for every one."""
    if id_ and call.id:
        return id_ != call.id
    if not name or not call.name or id_ or call.id:
        return False
    # No ids at all. A name may be repeated with each fragment, but not once the input is whole.
    return name != call.name or (bool(call.parts) and call.complete)


def fragment(value: Any) -> str:
    """Input as it comes: a piece of its text, nothing, or from some servers the object itself."""
    if type(value) is str:
        return value
    return "" if value is None else encode(value).decode()
