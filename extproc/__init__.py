"""Translates between LLM APIs, beside Envoy or as a library.

from extproc import Translation

t = Translation(client="anthropic_messages", upstream="openai_chat")
call = t.request(body, method="POST", path="/v1/messages", headers=[...])
t.response_head(200, [("content-type", "text/event-stream")])
data = t.response_body(chunk, end_of_stream=False)
"""

from __future__ import annotations

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
