"""Which numbers of sampling Claude takes, in whichever API (Anthropic, "Extended thinking", November 2026)."""

from __future__ import annotations

from ...capabilities import Capabilities
from ...llm.losses import LossReport
from ...llm.request import Request, Sampling


def unwanted(wish: Sampling, row: Capabilities, *, thinks: bool) -> tuple[str, ...]:
    """What the model refuses. *thinks*: thinking is surely on."""
    if not row.sampling:
        return ("temperature", "top_p", "top_k")
    if thinks:
        near_one = wish.top_p is None or 0.95 <= wish.top_p <= 1
        return ("temperature", "top_k") if near_one else ("temperature", "top_p", "top_k")
    both = wish.temperature is not None and wish.top_p is not None
    return ("top_p",) if both and not row.temperature_with_top_p else ()


def no_seed_no_penalties(request: Request, losses: LossReport) -> None:
    """Report what these APIs have no members for; a penalty of nothing is none."""
    wish = request.sampling
    if wish.seed is not None:
        losses.dropped(request.path_of("seed"))
    for name, penalty in (("frequency_penalty", wish.frequency_penalty), ("presence_penalty", wish.presence_penalty)):
        if penalty:
            losses.dropped(request.path_of(name))
