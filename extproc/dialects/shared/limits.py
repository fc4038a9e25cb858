"""What a request asks for, within what the upstream takes."""

from __future__ import annotations

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Member, Request


def max_tokens(request: Request, row: Capabilities, losses: LossReport, least: int = 1) -> int | None:
    """How long the answer may be, in tokens; ``None`` when the client did not say. *least*: fewer the API refuses.
    Raises Unsupported for less than one."""
    asked, most = request.sampling.max_tokens, row.max_output
    if asked is None:
        return None
    if asked >= least and asked >= 1 and (most is None or asked <= most):
        return asked
    path = request.path_of("max_tokens")
    if asked < 1:
        raise Unsupported(path, f"{path} must be at least 1", "invalid_value")
    if most is not None and asked > most:
        losses.add(path, Action.CLAMPED, f"to {most}, the most that this model can answer with")
        return most
    losses.add(path, Action.CLAMPED, f"to {least}, the least that this API takes")
    return least


def stop_sequences(request: Request, row: Capabilities, losses: LossReport, *, blank: bool = True) -> list[str]:
    """Where the answer shall end. *blank*: the API takes sequences of white space alone."""
    kept = list[str]()
    if not request.sampling.stop:
        return kept
    path = request.path_of("stop")
    for i, text in enumerate(request.sampling.stop):
        if not (text if blank else text.strip()):
            losses.dropped(f"{path}[{i}]", "the API takes no empty stop sequence")
        elif not row.stop:
            losses.dropped(f"{path}[{i}]")
        elif row.stop_max is not None and len(kept) >= row.stop_max:
            losses.dropped(f"{path}[{i}]", f"the API takes {row.stop_max}")
        else:
            kept.append(text)
    return kept


def leave_out(member: Member, losses: LossReport) -> None:
    """Report a member that this API has no place for. Raises Unsupported where the answer would be another one."""
    if member.essential:
        problem = member.problem or f"{member.path} is not supported for this model"
        raise Unsupported(member.path, problem, member.code)
    losses.dropped(member.path, cost_only=member.cost_only)
