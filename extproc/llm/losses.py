"""What a translation could not carry over, said out loud."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from ..frozen import Frozen


class Action(Enum):
    """What became of the thing at a path."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and these are looked up for every loss

    DROPPED = "dropped"
    CLAMPED = "clamped"
    REWRITTEN = "rewritten"
    MOVED = "moved"
    EMULATED = "emulated"
    DOWNGRADED = "downgraded"
    FILTERED = "filtered"
    SYNTHESIZED = "synthesized"
    CONTINUED = "continued"


HARMLESS: Final = frozenset({Action.MOVED, Action.REWRITTEN})
"""Actions that ``losses: reject`` allows: the answer is still an answer to all of the question."""

MAX_LOSSES: Final = 64
"""More kinds of losses than this are not kept: a stream, or a hostile request, must not grow the report."""
MAX_ALIKE: Final = 16
"""Of losses that differ by the numbers in their paths, so many are kept; the others are counted."""
MAX_COUNTED: Final = 1024
"""So many of those are known again when they are met a second time."""

_NUMBER: Final = re.compile(r"\[\d+\]")


class Loss(Frozen):
    """One loss. ``path`` is in the client's own words; ``str(loss)`` is ``path:action``."""

    path: str
    action: Action
    detail: str = ""
    cost_only: bool = False
    """Only money is lost (a cache marker), never meaning: ``losses: reject`` allows it."""

    def __str__(self) -> str:
        return f"{self.path}:{self.action.value}"


class LossReport:
    """Each distinct loss once, in the order first met. Losses of a kind, at the same place of several messages or
    blocks, are one entry with a count where the report is told."""

    __slots__ = ("_counts", "_first", "_losses", "_more", "_seen", "_unacceptable")

    def __init__(self) -> None:
        self._losses: dict[tuple[str, Action], Loss] = {}
        self._counts: dict[tuple[str, Action], int] = {}  # by the path without its numbers
        self._first: dict[tuple[str, Action], str] = {}  # and the first path with them
        self._seen: set[tuple[str, Action]] = set()  # beyond those that are kept, as far as they are many
        self._more = 0  # losses of kinds that are not kept
        self._unacceptable: Loss | None = None

    def add(self, path: str, action: Action, detail: str = "", *, cost_only: bool = False) -> None:
        key = (path, action)
        if key in self._losses or key in self._seen:
            return
        kind = (_NUMBER.sub("[]", path), action) if "[" in path else key
        count = self._counts.get(kind, 0)
        loss = Loss(path, action, detail, cost_only)
        if self._unacceptable is None and action not in HARMLESS and not cost_only:
            self._unacceptable = loss
        if count >= MAX_ALIKE and len(self._seen) < MAX_COUNTED:
            self._seen.add(key)
        if not count and len(self._counts) >= MAX_LOSSES:
            self._more += 1
            return
        self._counts[kind] = count + 1
        self._first.setdefault(kind, path)
        if count < MAX_ALIKE:
            self._losses[key] = loss

    def copy(self) -> LossReport:
        """One that says the same, and goes on by itself."""
        made = LossReport()
        made.become(self)
        return made

    def become(self, other: LossReport) -> None:
        """Say what *other* says so far."""
        self._losses = dict(other._losses)
        self._counts = dict(other._counts)
        self._first = dict(other._first)
        self._seen = set(other._seen)
        self._more = other._more
        self._unacceptable = other._unacceptable

    def dropped(self, path: str, detail: str = "", *, cost_only: bool = False) -> None:
        self.add(path, Action.DROPPED, detail, cost_only=cost_only)

    def rewritten(self, path: str, detail: str = "") -> None:
        self.add(path, Action.REWRITTEN, detail)

    def extra(self, path: str, extra: dict[str, object] | None) -> None:
        """Members that no one understood, each a loss of its own."""
        for name in extra or ():
            self.dropped(f"{path}.{name}" if path else name)

    def unacceptable(self) -> Loss | None:
        """The first loss for which a route with ``losses: reject`` refuses the request."""
        return self._unacceptable

    def told(self, limit: int, unsafe: re.Pattern[str] | None = None) -> str:
        """The report in *limit* characters at most: what concerns the whole request first, losses of a kind as one with
        their number (``messages[].content[].citations:dropped:60``), and how many entries there was no room for
        (``...:3``). Characters of paths that are *unsafe* become ``_``."""
        if not self._counts:
            return ""
        entries: list[str] = []
        for (path, action), count in sorted(self._counts.items(), key=_is_of_a_part):
            if count == 1:
                path = self._first[path, action]
            path = unsafe.sub("_", path) if unsafe is not None else path
            entries.append(f"{path}:{action.value}" + (f":{count}" if count > 1 else ""))
        text = ",".join(entries)
        if len(text) <= limit and not self._more:
            return text
        kept, used = 0, len(f",...:{len(entries) + self._more}")
        while kept < len(entries) and used + len(entries[kept]) + 1 <= limit:
            used += len(entries[kept]) + 1
            kept += 1
        return ",".join([*entries[:kept], f"...:{len(entries) - kept + self._more}"])

    def __iter__(self) -> Iterator[Loss]:
        return iter(self._losses.values())

    def __len__(self) -> int:
        return len(self._losses)


def _is_of_a_part(entry: tuple[tuple[str, Action], int]) -> bool:
    return "[" in entry[0][0]
