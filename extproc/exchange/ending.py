"""How an exchange ends: decided here and nowhere else, by its own state. Envoy ends the streams of good exchanges and
of bad ones alike."""

from __future__ import annotations

from typing import Final

from ..telemetry.outcome import Ending
from ..translation.translation import Translation
from .phases import Phase

_OF_PHASE: Final = {
    Phase.OPEN: Ending.CANCELLED,
    Phase.REQUEST: Ending.CANCELLED,
    Phase.SENT: Ending.CANCELLED,
    Phase.WHOLE: Ending.CUT,
    Phase.STREAMING: Ending.CUT,
    Phase.LET_BY: Ending.PASSED,
    Phase.PASSING: Ending.PASSED,
    Phase.ENDED: Ending.COMPLETE,
}
"""What it is if nothing more comes."""
_RESPONDING: Final = frozenset({Phase.WHOLE, Phase.STREAMING, Phase.ENDED})


def ending(phase: Phase, translation: Translation | None = None) -> Ending:
    """How an exchange would have ended if nothing more came in *phase*, which is not OVER.

    A response whose end the client has got is not cut by one who does not wait for the upstream to close.
    """
    if translation is not None and phase in _RESPONDING:
        if translation.failed is not None:
            return Ending.FAILED
        if translation.ended is not None:
            return Ending.COMPLETE
    return _OF_PHASE[phase]


def ending_of_ours(phase: Phase, status: int) -> Ending:
    """How an exchange ends that we answered ourselves, with *status*, in *phase*."""
    if phase is Phase.STREAMING:
        # Envoy can only reset what has begun.
        return Ending.CUT
    if phase in (Phase.OPEN, Phase.REQUEST):
        return Ending.REFUSED if status >= 400 else Ending.ANSWERED
    return Ending.FAILED
