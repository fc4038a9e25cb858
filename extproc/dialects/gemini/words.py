"""What the Gemini API's words mean in ours, and back.

Sources: the Gemini API's and Vertex AI's references of ``generateContent``, and the types of Google's SDK google-genai
3.6 (November 2026).
"""

from __future__ import annotations

import re
from typing import Any, Final

from ...llm.events import StopReason, Usage
from ...llm.fields import Fields
from ..shared.counts import count, settled

NAME: Final = "gemini"
SIGNER: Final = "google-gemini-v1"
"""The scheme of Gemini's thought signatures, as OpenRouter's ``reasoning_details`` names it."""
STAND_IN: Final = "skip_thought_signature_validator"
"""What Google documents in the place of a signature, for a call that another model made."""


_CONFIG: Final = "generationConfig"
PLACES: Final = {
    "temperature": f"{_CONFIG}.temperature",
    "top_p": f"{_CONFIG}.topP",
    "top_k": f"{_CONFIG}.topK",
    "seed": f"{_CONFIG}.seed",
    "stop": f"{_CONFIG}.stopSequences",
    "max_tokens": f"{_CONFIG}.maxOutputTokens",
    "max_completion_tokens": f"{_CONFIG}.maxOutputTokens",
    "max_output_tokens": f"{_CONFIG}.maxOutputTokens",
    "presence_penalty": f"{_CONFIG}.presencePenalty",
    "frequency_penalty": f"{_CONFIG}.frequencyPenalty",
}
"""Where a route's options stand, by the names that most APIs have for them."""

FINISH_REASONS: Final = {
    "STOP": StopReason.END,
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    "CONTINUATION": StopReason.MAX_TOKENS,
    "SAFETY": StopReason.REFUSAL,
    "RECITATION": StopReason.REFUSAL,
    "LANGUAGE": StopReason.REFUSAL,
    "BLOCKLIST": StopReason.REFUSAL,
    "PROHIBITED_CONTENT": StopReason.REFUSAL,
    "SPII": StopReason.REFUSAL,
    "IMAGE_SAFETY": StopReason.REFUSAL,
    "IMAGE_PROHIBITED_CONTENT": StopReason.REFUSAL,
    "IMAGE_RECITATION": StopReason.REFUSAL,
    "ESCALATION": StopReason.REFUSAL,
    "PUP_LIMITED_DISABLED": StopReason.REFUSAL,
    "MODEL_ARMOR": StopReason.REFUSAL,
}
"""Those whose meaning their words do not say; the others are read as any vendor's."""

FINISH_NAMES: Final = {
    StopReason.END: "STOP",
    StopReason.STOP_SEQUENCE: "STOP",
    StopReason.TOOL_CALL: "STOP",
    StopReason.MAX_TOKENS: "MAX_TOKENS",
    StopReason.CONTEXT_EXCEEDED: "MAX_TOKENS",
    # "STOP" would read as complete.
    StopReason.PAUSED: "MAX_TOKENS",
    StopReason.COMPACTED: "MAX_TOKENS",
    StopReason.REFUSAL: "SAFETY",
    StopReason.OTHER: "OTHER",
}

_CAMEL: Final = re.compile(r"_([a-z0-9])")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


def camel(name: str) -> str:
    """``mime_type`` as ``mimeType``: the API takes both spellings of a member."""
    return _CAMEL.sub(lambda match: match.group(1).upper(), name) if "_" in name else name


def in_humps(members: dict[str, Any]) -> dict[str, Any]:
    """*members* of an answer by the names of its JSON form, where a server wrote those of the proto file."""
    return {camel(name): value for name, value in members.items()} if "_" in "".join(members) else members


def snake(name: str) -> str:
    return _HUMP.sub(r"_\1", name).lower()


class GeminiFields(Fields):
    """Members in either spelling, taken by the one with humps; paths are in the client's own."""

    __slots__ = ("_spelled",)

    def __init__(self, members: Any, path: str) -> None:
        self._spelled: dict[str, str] = {}
        if type(members) is dict and any("_" in name for name in members):
            self._spelled = {camel(name): name for name in members if "_" in name}
            members = {camel(name): value for name, value in members.items()}
        super().__init__(members, path)

    def at(self, name: str) -> str:
        return super().at(self._spelled.get(name, name))

    def left(self) -> dict[str, Any]:
        """What nobody took, by the client's own names."""
        return {self._spelled.get(name, name): value for name, value in (self.rest() or {}).items()}


def read_usage(usage: Any) -> Usage:
    """The prompt includes what came from a cache; what tools read in the prompt's stead, and thoughts, are apart."""
    prompt, tools = count(usage, "promptTokenCount"), count(usage, "toolUsePromptTokenCount")
    answer, thoughts = count(usage, "candidatesTokenCount"), count(usage, "thoughtsTokenCount")
    if prompt is not None and tools:
        prompt += tools
    if answer is None and prompt is not None and (total := count(usage, "totalTokenCount")) is not None:
        # Left out where it is zero.
        answer = max(0, total - prompt - (thoughts or 0))
    if answer is not None and thoughts:
        answer += thoughts
    return settled(prompt, answer, count(usage, "cachedContentTokenCount"), None, thoughts)


def write_usage(usage: Usage) -> dict[str, Any] | None:
    """``None`` when nothing is known: numbers are never made up."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    prompt, answer, thoughts = usage.input_tokens or 0, usage.output_tokens or 0, usage.reasoning_tokens or 0
    out = {"promptTokenCount": prompt, "candidatesTokenCount": max(0, answer - thoughts)}
    if thoughts:
        out["thoughtsTokenCount"] = thoughts
    if usage.cache_read_tokens:
        out["cachedContentTokenCount"] = usage.cache_read_tokens
    out["totalTokenCount"] = prompt + max(answer, thoughts)
    return out
