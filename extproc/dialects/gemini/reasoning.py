"""How much to think, as ``thinkingConfig`` (Gemini API, "Thinking", November 2026)."""

from __future__ import annotations

from typing import Any, Final

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Request

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
DYNAMIC: Final = -1
"""A budget by which the model decides for itself."""
# Tokens at which a budget stops being low, and medium.
_LOW_BELOW, _MEDIUM_BELOW = 4096, 12288


def thinking_config(request: Request, row: Capabilities, losses: LossReport) -> dict[str, Any] | None:
    """What to send, if anything. Raises Unsupported for a word that nobody knows."""
    return _Planner(request, row, losses).plan()


class _Planner:
    def __init__(self, request: Request, row: Capabilities, losses: LossReport) -> None:
        self._wish = request.reasoning
        self._row = row
        self._losses = losses
        at = request.path_of("reasoning")
        effort_at = request.path_of("effort") if "effort" in request.at else at
        self._effort_at = effort_at
        self._at = effort_at if self._wish.effort and self._wish.mode is None else at
        losses.extra(at, self._wish.extra)

    def plan(self) -> dict[str, Any] | None:
        wish = self._wish
        if wish.effort is not None and wish.effort not in LEVELS:
            raise Unsupported(self._at, f"{self._at} must be one of {', '.join(LEVELS)}", "invalid_value")
        off = wish.mode in ("off", "between_tools") or (wish.mode is None and wish.effort == "none")
        if wish.mode is None and wish.effort is None and wish.budget is None:
            return {"includeThoughts": True} if wish.display == "summarized" else None
        if not self._row.reasoning:
            if not off:
                self._losses.dropped(self._at, "this model does not reason")
            return None
        out = self._off() if off else self._on()
        if not off and not wish.exclude and wish.display != "omitted":
            out["includeThoughts"] = True
        return out or None

    def _off(self) -> dict[str, Any]:
        if self._wish.mode == "off" and self._wish.effort not in (None, "none"):
            self._losses.add(self._effort_at, Action.DOWNGRADED, "to none: thinking is disabled")
        if self._wish.mode == "between_tools":
            self._losses.add(self._at, Action.DOWNGRADED, "this model cannot think between tool calls only")
        if self._row.thinking != "budget":
            lowest = self._nearest("minimal")
            self._losses.add(self._at, Action.DOWNGRADED, f"to {lowest}: this model always thinks")
            return {"thinkingLevel": lowest}
        if self._row.thinking_off is None:
            least = self._clamped(0)
            self._losses.add(self._at, Action.DOWNGRADED, f"to {least} tokens: this model always thinks")
            return {"thinkingBudget": least}
        return {"thinkingBudget": 0}

    def _on(self) -> dict[str, Any]:
        wish = self._wish
        effort = wish.effort if wish.effort != "none" else None
        if self._row.thinking == "budget":
            if wish.budget is None:
                return {"thinkingBudget": self._clamped(BUDGETS[effort])} if effort else {"thinkingBudget": DYNAMIC}
            budget = self._clamped(wish.budget)
            if budget != wish.budget:
                self._losses.add(self._at, Action.CLAMPED, f"to {budget} tokens")
            return {"thinkingBudget": budget}
        if effort is None and wish.budget is not None:
            effort = _word(wish.budget)
            self._losses.rewritten(self._at, f"this model takes no budget: {effort}")
        if effort is None:
            return {}
        level = self._nearest(effort)
        if level != effort and wish.effort is not None:
            self._losses.add(self._at, Action.DOWNGRADED, f"to {level}")
        return {"thinkingLevel": level}

    def _clamped(self, budget: int) -> int:
        if self._row.thinking_budgets is None or budget == DYNAMIC:
            return budget
        least, most = self._row.thinking_budgets
        return min(max(budget, least), most)

    def _nearest(self, word: str) -> str:
        """*word*, or the nearest that the model lists; of two equally near the higher."""
        known = [level for level in LEVELS if level in (self._row.efforts or LEVELS) and level != "none"]
        place = LEVELS.index(word)
        return min(known or [word], key=lambda level: (abs(LEVELS.index(level) - place), -LEVELS.index(level)))


def _word(budget: int) -> str:
    if budget == DYNAMIC:
        return "high"
    if budget < _LOW_BELOW:
        return "low"
    return "medium" if budget < _MEDIUM_BELOW else "high"
