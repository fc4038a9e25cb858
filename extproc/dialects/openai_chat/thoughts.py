"""Where servers put the reasoning of a message, or of a delta of it."""

from __future__ import annotations

from typing import Any, Final

from ...frozen import Frozen
from ..shared.fragments import says_something
from .vocabulary import CLAUDE

PLAIN = (
    "reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content", "thinking_text", "thought",
    "thoughts", "think", "reasoning_output", "reasoning_summary", "cot_summary", "chain_of_thought",
)  # fmt: skip
"""One and the same text under each: DeepSeek's and vLLM's first name, vLLM's second and OpenRouter's, Copilot's, ..."""
_BLOCKS: Final = "thinking_blocks"
"""Claude's blocks as they are (LiteLLM)."""
_FIELDS: Final = "provider_specific_fields"
"""In which LiteLLM keeps them, too."""
SIGNATURES = ("reasoning_signature", "thinking_signature", "reasoning_content_signature", "signature")
"""Claude's signature over that text, beside it (agentgateway's name, and others')."""
_OPAQUE = ("reasoning_opaque", "encrypted_reasoning")
"""What only its own server can read."""
MEMBERS: Final = frozenset({*PLAIN, *SIGNATURES, *_OPAQUE, _BLOCKS, _FIELDS, "reasoning_details"})


class Thoughts(Frozen):
    """*text* is plain; *details* may repeat it, and say which seal belongs to which part of it. *leading*: the details
    are Claude's own blocks, beside which the text is nothing new. *opaque*: the member that was left, which
    only its own server can read."""

    text: str = ""
    details: list[Any] = []
    leading: bool = False
    opaque: str = ""
    unread: tuple[str, ...] = ()
    """Members of LiteLLM's own fields that nobody takes."""


def read(delta: dict[str, Any]) -> Thoughts | None:
    """What *delta* holds of reasoning; ``None`` if that is nothing, as in most."""
    if MEMBERS.isdisjoint(delta):
        return None
    fields = delta.get(_FIELDS)
    if type(fields) is dict and not MEMBERS.isdisjoint(fields):
        # What stands beside them is the same.
        delta = {**fields, **{name: value for name, value in delta.items() if says_something(value)}}
    blocks, details = _list(delta.get(_BLOCKS)), _list(delta.get("reasoning_details"))
    text = ""
    for name in PLAIN:
        value = delta.get(name)
        if type(value) is str:
            text = text or value
        elif value:
            blocks = blocks or _sealed_in(value)
            text = text or _text(value)
    unread = tuple(name for name in fields if name not in MEMBERS and fields[name]) if type(fields) is dict else ()
    opaque = next((name for name in _OPAQUE if delta.get(name)), "")
    if not (text or blocks or details or opaque):
        opaque = next((name for name in PLAIN if says_something(delta.get(name))), "")
    if blocks:
        marked = [{**block, "format": CLAUDE} for block in blocks if type(block) is dict]
        whole = any(text_of(block) or block.get("data") for block in marked)
        return Thoughts(text, marked, whole, opaque, unread)
    if not details and (signature := signature_of(delta)):
        details = [{"signature": signature, "format": CLAUDE}]
    return Thoughts(text, details, False, opaque, unread)


def _list(value: Any) -> list[Any]:
    return [value] if type(value) is dict and value else value if type(value) is list else []


def _sealed_in(value: Any) -> list[Any]:
    """Claude's blocks, where a member that is plain text elsewhere holds them with their signatures."""
    parts = [part for part in _list(value) if type(part) is dict]
    # Converse's have one more object around them.
    parts = [part["reasoningText"] if type(part.get("reasoningText")) is dict else part for part in parts]
    if not any(part.get("signature") for part in parts):
        return []
    return [{"type": "thinking", "thinking": text_of(part), "signature": part.get("signature")} for part in parts]


def text_of(part: Any) -> str:
    """The text of one part of reasoning, whatever its server calls it."""
    if type(part) is not dict:
        return part if type(part) is str else ""
    for name in ("text", "thinking", "summary", "content", "reasoning", "reasoning_content", "reasoningText"):
        found = _text(part.get(name))
        if found:
            return found
    return ""


def signature_of(members: dict[str, Any]) -> str:
    """Claude's, over the text that stands beside it."""
    found = (members.get(name) for name in SIGNATURES)
    return next((value for value in found if type(value) is str and value), "")


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is dict:
        return text_of(value)
    return "".join(map(text_of, value)) if type(value) is list else ""
