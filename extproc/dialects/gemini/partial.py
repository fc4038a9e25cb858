"""A call that comes in pieces (Vertex AI, ``streamFunctionCallArguments``): each names the place of what it adds."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]")
_VALUES = ("stringValue", "numberValue", "boolValue")
MAX_SKIPPED: Final = 10_000
"""Elements of a call's arrays that nobody told of."""


class PartialCall:
    """A call whose arguments are not whole yet. What cannot be placed is left out."""

    def __init__(self, call: dict[str, Any], signature: str | None) -> None:
        self.call = {name: value for name, value in call.items() if name in ("id", "name", "args")}
        self.signature = signature
        self._args: dict[str, Any] = {}
        self._skipped = 0
        self._texts: dict[tuple[str | int, ...], list[str]] = {}  # the pieces of those that go on

    def add(self, call: dict[str, Any], signature: str | None) -> bool:
        """Take in the next piece; whether it was the last."""
        self.signature = self.signature or signature
        pieces = call.get("partialArgs")
        for piece in pieces if type(pieces) is list else ():
            if type(piece) is dict:
                self._place(piece)
        if call.get("willContinue") is True:
            return False
        for steps, parts in self._texts.items():
            self._put(steps, "".join(parts))
        if self._args:
            self.call["args"] = self._args
        return True

    def _place(self, piece: dict[str, Any]) -> None:
        path = piece.get("jsonPath")
        steps = [_step(*found) for found in _STEP.findall(path)] if type(path) is str else []
        value = next((piece[name] for name in _VALUES if name in piece), None)
        if not steps or type(steps[0]) is not str:
            return
        place = tuple(steps)
        if type(value) is str and place in self._texts:
            self._texts[place].append(value)
        elif self._put(place, value) and type(value) is str:
            self._texts[place] = [value]
        else:
            self._texts.pop(place, None)

    def _put(self, steps: tuple[str | int, ...], value: Any) -> bool:
        """Whether *value* could be put at *steps*."""
        node: Any = self._args
        for step, following in pairwise(steps):
            node = self._child(node, step, [] if type(following) is int else {})
        self._child(node, steps[-1], None)
        if not _fits(node, steps[-1]):
            return False
        node[steps[-1]] = value
        return True

    def _child(self, node: Any, step: str | int, empty: Any) -> Any:
        """What stands at *step* of *node*; *empty* is put there if nothing does."""
        if not _fits(node, step):
            return None
        if type(node) is list and type(step) is int:
            skipped = max(0, step - len(node))
            if self._skipped + skipped > MAX_SKIPPED:
                return None
            self._skipped += skipped
            node += [None] * (step + 1 - len(node))
            if node[step] is None:
                node[step] = empty
            return node[step]
        return node.setdefault(step, empty)


def _step(name: str, index: str, quoted: str) -> str | int:
    return int(index) if index and len(index) < 9 else name or quoted


def _fits(node: Any, step: str | int) -> bool:
    return (type(node) is dict and type(step) is str) or (type(node) is list and type(step) is int)
