"""Translates between LLM APIs, beside Envoy or as a library.

from extproc import Translation

t = Translation(client="anthropic_messages", upstream="openai_chat")
call = t.request(body, method="POST", path="/v1/messages", headers=[...])
t.response_head(200, [("content-type", "text/event-stream")])
data = t.response_body(chunk, end_of_stream=False)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .llm.events import Usage
    from .llm.losses import Loss
    from .route import Route, RouteError, compile_route
    from .translation.calls import Answer, Call, Refused
    from .translation.course import OutOfOrder
    from .translation.translation import Translation

__all__ = [
    "Answer",
    "Call",
    "Loss",
    "OutOfOrder",
    "Refused",
    "Route",
    "RouteError",
    "Translation",
    "Usage",
    "compile_route",
]
_WHERE = {
    "Usage": ".llm.events",
    "Loss": ".llm.losses",
    **dict.fromkeys(("Route", "RouteError", "compile_route"), ".route"),
    **dict.fromkeys(("Answer", "Call", "Refused"), ".translation.calls"),
    "OutOfOrder": ".translation.course",
    "Translation": ".translation.translation",
}
"""The module of each name, which is loaded when the name is asked for: all of them take a third of a second, which
``extproc health`` would pay every few seconds."""

if not TYPE_CHECKING:  # else any name would have a type

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_WHERE[name], __name__), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
