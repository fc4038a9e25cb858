"""Lists of tools that came before: an agent sends the same one, byte for byte, with each of its turns.

What was read of a list, and what was written of its tools, depends on its text alone and is kept by that. A request
that does not find it there reads and writes anew, with the same outcome.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

import msgspec

from ...llm.failures import ProtocolError
from ...llm.request import Member, Tool
from ..base import ClientCall, Members, encode
from .reading import decode

SHORTEST: Final = 1024
LONGEST: Final = 256 * 1024
"""Bytes of a list that is worth while to be kept, and of one that may be."""
MOST: Final = 512 * 1024
"""Bytes of all lists that are kept. What is made of them takes some ten times as much, and forty times at worst."""

_decode: Final = msgspec.json.Decoder().decode


class KnownList:
    """What was read of one text: the tools, and members that have no word here. Never changed."""

    __slots__ = ("extra", "tools")

    def __init__(self, tools: list[Tool], extra: dict[str, Member]) -> None:
        self.tools = tools
        self.extra = extra


class KnownTools:
    """The lists that were used last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        self._lists: OrderedDict[tuple[str, bytes], KnownList] = OrderedDict()
        self._written: dict[int, tuple[Tool, dict[Hashable, msgspec.Raw]]] = {}
        """By which tool it is, of those lists: itself, and what was written of it, by how."""

    def find(self, dialect: str, text: bytes) -> KnownList | None:
        """What was read of *text* as *dialect* reads it."""
        key = dialect, text
        found = self._lists.get(key)
        if found is not None:
            self._lists.move_to_end(key)
        return found

    def keep(self, dialect: str, text: bytes, read: KnownList) -> None:
        """Keep what was *read* of *text*, which was not found."""
        self._lists[dialect, text] = read
        self._size += len(text)
        for tool in read.tools:
            self._written[id(tool)] = tool, {}
        while self._size > self._most:
            (_, gone), left = self._lists.popitem(last=False)
            self._size -= len(gone)
            for tool in left.tools:
                del self._written[id(tool)]

    def items(self) -> list[tuple[tuple[str, bytes], KnownList]]:
        """All that is kept, the text by which it is found first."""
        return list(self._lists.items())

    def clear(self) -> None:
        self._lists.clear()
        self._written.clear()
        self._size = 0

    def __len__(self) -> int:
        return len(self._lists)

    def written(self, tool: Tool, how: Hashable) -> msgspec.Raw | None:
        """What was written of *tool* in this way; ``None`` for one that is of none of the lists."""
        known = self._written.get(id(tool))
        return known[1].get(how) if known is not None else None

    def note(self, tool: Tool, how: Hashable, made: Members) -> Any:
        """*made* of *tool*, alone and without a loss; of one of the lists as text, to be found from now on."""
        known = self._written.get(id(tool))
        if known is None:
            return made
        text = known[1][how] = msgspec.Raw(encode(made))
        return text


KNOWN: Final = KnownTools()


class OpenedBody:
    """A request's body, decoded. ``text`` is that of its tools if they may be kept, else empty; ``known``: what was
    read of it before, ``tools`` is not among the ``members`` then."""

    __slots__ = ("known", "members", "text")

    def __init__(self, members: Any, text: bytes = b"", known: KnownList | None = None) -> None:
        self.members = members
        self.text = text
        self.known = known


def opened(call: ClientCall, dialect: str) -> OpenedBody:
    """The body of *call*, as *dialect* reads it. Raises ProtocolError."""
    body = _with_known(call, dialect)
    # What is no JSON at first sight may be mended, or is told in words.
    return body if body is not None else OpenedBody(decode(call.body, ""))


def _with_known(call: ClientCall, dialect: str) -> OpenedBody | None:
    if not call.is_opened and b'"tools"' not in call.body:
        return None
    try:
        members = call.members()
        tools = members.get("tools")
        if type(tools) is not msgspec.Raw or not SHORTEST <= len(memoryview(tools)) <= LONGEST:
            return None
        text = bytes(tools)
        known = KNOWN.find(dialect, text)
        if known is not None:
            del members["tools"]
        for name, value in members.items():
            if type(value) is msgspec.Raw:
                members[name] = _decode(value)
    except (ProtocolError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return OpenedBody(members, text, known)
