"""How much to think, in OpenAI's words."""

from __future__ import annotations

from typing import Final

from ...capabilities import Capabilities
from ...frozen import same
from ...llm.losses import Action, LossReport
from ...llm.request import Reasoning, Request

_UNSAID: Final = Reasoning()
LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Tokens at which a budget stops being low, and medium.
_LOW_BELOW, _MEDIUM_BELOW = 4096, 12288


def reasoning_effort(request: Request, row: Capabilities, losses: LossReport, *, tools: bool) -> str | None:
    """The word to send, if any. *tools*: the request has some."""
    wish = request.reasoning
    if same(wish, _UNSAID):
        return "none" if tools and row.none_with_tools and row.reasoning and row.efforts != [] else None
    at = request.path_of("reasoning")
    losses.extra(at, wish.extra)
    effort_at = request.path_of("effort") if "effort" in request.at else at
    if not row.reasoning or row.efforts == []:
        # A model that does not think does what was asked when it was asked not to.
        if wish.effort not in (None, "none") or wish.mode not in (None, "off"):
            losses.dropped(at if wish.mode not in (None, "off") else effort_at, "this model does not reason")
        return None
    word = wish.effort or _word(wish)
    if wish.mode == "off" and word != "none":
        # Here the effort is that of thinking alone.
        losses.add(effort_at, Action.DOWNGRADED, "to none: thinking is disabled")
        wish, word = Reasoning("off"), "none"
    if word is None:
        return "none" if tools and row.none_with_tools else None
    if wish.budget is not None:
        losses.rewritten(at, f"a budget of {wish.budget} tokens becomes effort {word}")
    level: str | None = _listed(word, row.efforts)
    if tools and not row.effort_with_tools:
        level = "none" if row.efforts is None or "none" in row.efforts else None
    if level != word:
        where = effort_at if wish.effort else at
        losses.add(where, Action.DOWNGRADED, f"to {level}" if level else "not together with tools")
    return level


def _word(wish: Reasoning) -> str | None:
    if wish.budget is not None:
        if wish.budget < _LOW_BELOW:
            return "low"
        return "medium" if wish.budget < _MEDIUM_BELOW else "high"
    return {"off": "none", "between_tools": "low"}.get(wish.mode or "")


def _listed(word: str, listed: list[str] | None) -> str:
    """*word*, or the nearest lower one that the model lists, or its lowest."""
    if listed is None or word in listed or word not in LEVELS:
        return word
    known = [level for level in LEVELS if level in listed]
    lower = [level for level in known if LEVELS.index(level) < LEVELS.index(word)]
    return (lower or known[:1] or [word])[-1]
