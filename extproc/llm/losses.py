"""What a translation could not carry over, said out loud."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from ..frozen import Frozen


class Action(Enum):
    """What became of the thing at a path."""

    DROPPED = "dropped"
    CLAMPED = "clamped"
    REWRITTEN = "rewritten"
    MOVED = "moved"
    EMULATED = "emulated"
    DOWNGRADED = "downgraded"
    FILTERED = "filtered"
    SYNTHESIZED = "synthesized"
    CONTINUED = "continued"


HARMLESS = frozenset({Action.MOVED, Action.REWRITTEN})
"""Actions that ``losses: reject`` allows: the answer is still an answer to all of the question."""

MAX_LOSSES = 64
"""More distinct losses than this are not kept: a stream, or a hostile request, must not grow the report."""


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
    """Each distinct loss once, in the order first met."""

    __slots__ = ("_losses",)

    def __init__(self) -> None:
        self._losses: dict[tuple[str, Action], Loss] = {}

    def add(self, path: str, action: Action, detail: str = "", *, cost_only: bool = False) -> None:
        if len(self._losses) < MAX_LOSSES:
            self._losses.setdefault((path, action), Loss(path, action, detail, cost_only))

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
        return next((x for x in self._losses.values() if x.action not in HARMLESS and not x.cost_only), None)

    def __iter__(self) -> Iterator[Loss]:
        return iter(self._losses.values())

    def __len__(self) -> int:
        return len(self._losses)
