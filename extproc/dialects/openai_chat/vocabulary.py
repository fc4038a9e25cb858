"""The words of the Chat Completions API: finish reasons, service tiers, error types.

Sources: OpenAI's API reference and the types of its Python SDK 3.52.0 (November 2026); for what other servers say
instead, their own documentation, named where it is used.
"""

from __future__ import annotations

from typing import Final

from ...llm import signers
from ...llm.events import StopReason

NAME: Final = "openai_chat"
CLAUDE: Final = signers.CLAUDE
"""How ``reasoning_details`` names the scheme of Claude's thinking signatures (OpenRouter, "Reasoning tokens")."""

FINISH_NAMES: Final = {
    StopReason.END: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.OTHER: "stop",
    StopReason.TOOL_CALL: "tool_calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.CONTEXT_EXCEEDED: "length",
    # "stop" would read as complete.
    StopReason.PAUSED: "length",
    StopReason.COMPACTED: "length",
    StopReason.REFUSAL: "content_filter",
}
NAMELESS_STOPS: Final = frozenset(
    {StopReason.PAUSED, StopReason.CONTEXT_EXCEEDED, StopReason.COMPACTED, StopReason.OTHER}
)
"""Stops for which this API has no name of its own: the upstream's goes beside it as ``native_finish_reason``."""

TIERS_READ: Final = {"default": "standard"}
TIERS_WRITTEN: Final = {"standard": "default", "batch": "default"}
"""Of a response. Words that are not here are the same."""
