"""What a request settles for its response."""

from __future__ import annotations

from typing import Any, Final

from ...llm.request import ClientState
from ...llm.weight import kept
from ..base import encode
from .names import Named

ENCRYPTED: Final = "reasoning.encrypted_content"
"""What a client includes that keeps the conversation itself: the thinking, sealed by whoever made it."""

ECHOED: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""Members of a response that repeat the request, several of them required: what is said when a request has none."""


class ResponsesState(ClientState):
    """``echo``: the request's own ``ECHOED`` members. ``seals``: the client wants sealed thinking. ``named``: flat tool
    names and what they stand for. ``searches``: a call of ``SEARCH`` is a search for tools."""

    echo: dict[str, Any] = {}
    seals: bool = True
    named: dict[str, Named] = {}
    searches: bool = False

    @property
    def kept(self) -> int:
        return kept(encode(self.echo)) if self.echo else 0


UNKNOWN: Final = ResponsesState()
"""Of a request that was not read."""
