"""Changing single places of a JSON text: whatever is not on the way to one of them keeps its exact bytes."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ..base import encode

Path = tuple[str | int, ...]
"""Members by name, elements by index."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder().decode
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")

ABSENT: Final[Any] = object()


def path_of(text: str) -> Path:
    """``messages[0].content`` in its parts."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(text))


class RawJson:
    """A JSON text, read as deep as one asks."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._levels: dict[Path, Any] = {}

    def raw(self, path: Path) -> bytes | None:
        """The text of what stands at *path*; ``None`` if nothing does."""
        if not path:
            return self.body
        level = self.level(path[:-1])
        last = path[-1]
        if isinstance(last, int):
            return bytes(level[last]) if isinstance(level, list) and last < len(level) else None
        return bytes(level[last]) if isinstance(level, dict) and last in level else None

    def level(self, path: Path) -> dict[str, Any] | list[Any] | None:
        """The members or the elements of what stands at *path*, as their texts; ``None`` if it has none."""
        if path in self._levels:
            found: dict[str, Any] | list[Any] | None = self._levels[path]
            return found
        raw = self.raw(path)
        made = _opened(raw) if raw is not None else None
        self._levels[path] = made
        return made

    def value(self, path: Path) -> Any:
        """What stands at *path*, decoded; ``ABSENT`` if nothing does."""
        raw = self.raw(path)
        return ABSENT if raw is None else _value(raw)


def _opened(raw: bytes) -> dict[str, Any] | list[Any] | None:
    first = raw.lstrip()[:1]
    if first == b"{":
        return _members(raw)
    return _items(raw) if first == b"[" else None


class Edits:
    """What becomes of a text: each place at most one thing."""

    def __init__(self) -> None:
        self._below: dict[str | int, Edits] = {}
        self._value: Any = ABSENT
        self._gone = False
        self._order: list[int | bytes] | None = None

    def at(self, path: Path) -> Edits:
        found = self
        for step in path:
            found = found._below.setdefault(step, Edits())
        return found

    def put(self, path: Path, value: Any) -> None:
        """*value*, decoded or ``msgspec.Raw``, in the place of what stands at *path*."""
        self.at(path)._value = value

    def remove(self, path: Path) -> None:
        self.at(path)._gone = True

    def arrange(self, path: Path, order: list[int | bytes]) -> None:
        """The elements of the array at *path*: those that there are by index, changed or not, others as texts."""
        self.at(path)._order = order

    def __bool__(self) -> bool:
        return self._value is not ABSENT or self._gone or self._order is not None or any(self._below.values())

    @property
    def makes(self) -> bool:
        """Something is there afterwards, even if nothing was."""
        return self._value is not ABSENT or self._order is not None or any(e.makes for e in self._below.values())

    def applied(self, raw: bytes) -> bytes:
        """*raw* with all of it; *raw* itself if nothing is to be done."""
        if self._value is not ABSENT:
            return encode(self._value)
        if not self:
            return raw
        level = _opened(raw)
        if isinstance(level, list):
            return self._on_items(level)
        return self._on_members(level or {})

    def _on_members(self, level: dict[str, Any]) -> bytes:
        for name, below in self._below.items():
            if below._gone:
                level.pop(str(name), None)
            elif below.makes if name not in level else below:
                old = level.get(str(name))
                level[str(name)] = msgspec.Raw(below.applied(b"null" if old is None else bytes(old)))
        return encode(level)

    def _on_items(self, level: list[Any]) -> bytes:
        for index, below in self._below.items():
            if isinstance(index, int) and below and not below._gone:
                level[index] = msgspec.Raw(below.applied(bytes(level[index])))
        gone = {index for index, below in self._below.items() if below._gone}
        order = self._order if self._order is not None else [i for i in range(len(level)) if i not in gone]
        return encode([level[each] if isinstance(each, int) else msgspec.Raw(each) for each in order])
