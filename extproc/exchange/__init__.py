"""One ext_proc stream as a pure machine: Envoy's messages in, ours out.

    exchange = Exchange(Context(), role="translator")
    answer = exchange.receive(request)      # for every message, in order
    exchange.close()                        # when the stream has ended, however
"""

from __future__ import annotations

from .machine import Context, Machine
from .phases import Outcome, State
from .router import Router
from .translator import Translator

__all__ = ["ROLES", "ROLE_HEADER", "Context", "Exchange", "Machine", "Outcome", "State"]

ROLE_HEADER = "x-extproc-role"
"""The gRPC initial metadata in which Envoy's configuration says what a stream is for."""
ROLES: dict[str, type[Machine]] = {"translator": Translator, "router": Router}


def Exchange(context: Context, role: str = "translator") -> Machine:
    """A machine for one stream. An unknown *role* is a translator's: it refuses what has no route."""
    return ROLES.get(role, Translator)(context)
