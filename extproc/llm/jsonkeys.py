"""Renaming the members of a JSON object that arrives in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

_decode: Final = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class KeyRenamer:
    """Gives other names to the outermost object's members, as *names* says. All else passes as it came, and at once:
    only a name that has not ended waits."""

    __slots__ = ("_depth", "_escaped", "_expecting", "_in_string", "_key", "_names", "_object")

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._depth = 0
        self._object = False
        self._expecting = False
        self._in_string = False
        self._escaped = False
        self._key: list[str] | None = None

    def feed(self, text: str) -> str:
        """The next piece, renamed."""
        out: list[str] = []
        for character in text:
            if self._key is not None:
                self._key.append(character)
                if self._ends_string(character):
                    out.append(self._renamed("".join(self._key)))
                    self._key = None
                continue
            out.append(character)
            if self._in_string:
                self._in_string = not self._ends_string(character)
            elif character == '"' and self._expecting:
                self._expecting = False
                self._key = [out.pop()]
            elif character == '"':
                self._in_string = True
            else:
                self._structure(character)
        return "".join(out)

    def end(self) -> str:
        """What waited when the text ended."""
        rest, self._key = "".join(self._key or ()), None
        return rest

    def _ends_string(self, character: str) -> bool:
        if self._escaped:
            self._escaped = False
            return False
        self._escaped = character == "\\"
        return character == '"'

    def _structure(self, character: str) -> None:
        if character in "{[":
            self._depth += 1
            if self._depth == 1:
                self._object = self._expecting = character == "{"
        elif character in "}]":
            self._depth -= 1
        elif character == "," and self._depth == 1:
            self._expecting = self._object

    def _renamed(self, quoted: str) -> str:
        try:
            name = self._names.get(_decode(quoted))
        except msgspec.DecodeError:
            return quoted
        return quoted if name is None else _encode(name).decode()


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A whole text, renamed."""
    renamer = KeyRenamer(names)
    return renamer.feed(text) + renamer.end()
