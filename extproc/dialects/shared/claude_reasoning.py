"""How much to think, as ``thinking`` and an effort, in whichever API Claude is asked.

Anthropic, "Extended thinking", "Adaptive thinking", "Effort" (August 2026). Bedrock takes the same objects.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from ...capabilities import Capabilities
from ...frozen import same
from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Reasoning, Request

LEVELS = ("low", "medium", "high", "xhigh", "max")
BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
MIN_BUDGET: Final = 1024
# Thresholds between low, medium and high for who says tokens to a model that takes words.
_LOW_BELOW, _MEDIUM_BELOW = 4096, 12288


class Plan(Struct):
    """What is sent. ``thinks``: thinking is surely on, which forbids sampling and prefill."""

    thinking: dict[str, Any] | None = None
    effort: str | None = None

    @property
    def thinks(self) -> bool:
        return self.thinking is not None and self.thinking["type"] in ("enabled", "adaptive")

    @property
    def budgeted(self) -> bool:
        return self.thinking is not None and self.thinking["type"] == "enabled"


class Planner:
    """Plans one request's thinking; says in *losses* what became of the client's wish."""

    def __init__(self, request: Request, row: Capabilities, *, claude: bool, losses: LossReport) -> None:
        self._wish: Reasoning = request.reasoning
        self._row = row
        # A server of another maker that speaks this API takes the API's first form of thinking.
        self._by_budget = row.thinking == "budget" or (row.thinking == "none" and not claude)
        self._others = row.thinking == "none" and not claude
        self._losses = losses
        self._at = request.path_of("reasoning")
        self._effort_at = request.path_of("effort") if "effort" in request.at else self._at

    def plan(self, max_tokens: int, *, forced: bool, unsigned_loop: bool) -> Plan:
        """*forced*: a tool must be called; *unsigned_loop*: the tool calls now being answered came without thinking.
        Neither goes together with a budget, and the call matters more."""
        if not self._row.reasoning or (self._row.thinking == "none" and not self._by_budget):
            if not same(self._wish, Reasoning()):
                self._losses.dropped(self._at)
            return Plan()
        plan = self._plan(max_tokens)
        if plan.budgeted and (forced or unsigned_loop):
            why = "a tool call is forced" if forced else "the tool calls that are being answered came without thinking"
            self._losses.dropped(self._at, why)
            plan.thinking = None
        return plan

    def _plan(self, max_tokens: int) -> Plan:
        wish, mode = self._wish, self._wish.mode
        if wish.effort is not None and wish.effort != "none" and wish.effort not in BUDGETS:
            known = ", ".join(["none", *BUDGETS])
            raise Unsupported(self._effort_at, f"{self._effort_at} must be one of {known}", "invalid_value")
        if mode == "between_tools" and self._row.thinking_off == "between_tools":
            return self._off("between_tools")
        if mode in ("off", "between_tools") or (mode is None and wish.effort == "none"):
            if mode == "between_tools":
                self._losses.add(self._at, Action.DOWNGRADED, "this model cannot think between tool calls only")
            return self._off(self._row.thinking_off)
        if self._by_budget:
            return self._budget(max_tokens)
        return self._adaptive(max_tokens)

    def _off(self, way: str | None) -> Plan:
        if way is None and self._others:
            # Other makers' models think unless they are told not to.
            way = "disabled"
        effort_at = self._at if self._wish.mode else self._effort_at
        if way is None and not self._by_budget:
            self._losses.add(effort_at, Action.DOWNGRADED, "this model always thinks")
            return Plan(effort=self._listed("low"))
        plan = Plan({"type": way} if way in ("disabled", "between_tools") else None)
        if self._wish.effort not in (None, "none"):
            effort = self._level()
            if plan.thinking and effort in ("xhigh", "max"):
                self._losses.dropped(self._effort_at, "thinking is off")
            else:
                plan.effort = effort
        return plan

    # ---- models that take a budget of tokens

    def _budget(self, max_tokens: int) -> Plan:
        wish = self._wish
        at = self._at if wish.mode or wish.budget is not None else self._effort_at
        budget = wish.budget
        if budget is None:
            if wish.effort is None and wish.mode is None:
                return Plan()
            budget = BUDGETS[wish.effort if wish.effort not in (None, "none") else "high"]
            if wish.mode == "adaptive":
                self._losses.rewritten(self._at, f"this model takes a budget: {budget} tokens")
        # Another maker's model has its words elsewhere: its Messages API knows budgets.
        words = self._row.efforts if self._row.thinking != "none" else None
        effort = wish.effort if wish.effort in (words or ()) else None
        if effort is None and wish.effort is not None and not wish.mode and self._effort_at.startswith("output_config"):
            self._losses.rewritten(self._effort_at, f"this model takes a budget: {budget} tokens")
        if max_tokens <= MIN_BUDGET:
            self._losses.dropped(at, f"max_tokens leaves no room for {MIN_BUDGET} tokens of thinking")
            return Plan(effort=effort)
        asked, budget = budget, max(budget, MIN_BUDGET)
        # A client that counts for itself is changed only where the API would refuse it.
        counted = wish.mode is not None and wish.budget is not None and budget < max_tokens
        budget = budget if counted else min(budget, max(MIN_BUDGET, max_tokens * 4 // 5))
        if budget != asked:
            self._losses.add(at, Action.CLAMPED, f"to {budget} tokens")
        return Plan(self._shown({"type": "enabled", "budget_tokens": budget}, None), effort)

    # ---- models that think as much as they see fit

    def _adaptive(self, max_tokens: int) -> Plan:
        wish = self._wish
        if wish.mode == "budget" and self._row.budget_too:
            plan = self._budget(max_tokens)
            plan.effort = self._level()
            return plan
        effort = self._level()
        if wish.budget is not None and wish.effort is None:
            word = "low" if wish.budget < _LOW_BELOW else "medium" if wish.budget < _MEDIUM_BELOW else "high"
            effort = self._listed(word)
            self._losses.rewritten(self._at, f"this model takes no budget: effort {effort}")
        if wish.mode is None and effort is None:
            return Plan()
        # From 4.7 on thinking is not shown unless asked for; who asks for an effort knows of reasoning.
        return Plan(self._shown({"type": "adaptive"}, None if wish.mode else "summarized"), effort)

    def _shown(self, thinking: dict[str, Any], display: str | None) -> dict[str, Any]:
        display = self._wish.display or ("omitted" if self._wish.exclude else display)
        if display is not None:
            thinking["display"] = display
        return thinking

    def _level(self) -> str | None:
        """The effort asked for, in a word that the model knows."""
        word = self._wish.effort
        if word in (None, "none"):
            return None
        level = self._listed("low" if word == "minimal" else word)
        if level != word:
            self._losses.add(self._effort_at, Action.DOWNGRADED, f"to {level}" if level else "this model takes none")
        return level

    def _listed(self, word: str | None) -> str | None:
        """*word*, or the nearest lower one that the model lists, or its lowest."""
        listed = self._row.efforts
        if listed is None or word in listed or word not in LEVELS:
            return word
        lower = [level for level in LEVELS[: LEVELS.index(word)] if level in listed]
        return lower[-1] if lower else next((level for level in LEVELS if level in listed), None)
