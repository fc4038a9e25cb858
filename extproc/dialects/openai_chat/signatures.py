"""Google's thought signatures, where Gemini's OpenAI-compatible API has them: ``extra_content`` of a tool call.

A model of the third generation refuses a turn whose first call has lost its signature (Google, "Thought signatures",
November 2026).
"""

from __future__ import annotations

from typing import Any, Final

NAME: Final = "extra_content"
STAND_IN: Final = "skip_thought_signature_validator"
"""What Google documents for a call that another model made."""


def signed(signature: str | None) -> dict[str, Any]:
    """The members that put *signature* on a call."""
    return {NAME: {"google": {"thought_signature": signature}}} if signature else {}


def take_signature(members: dict[str, Any] | None) -> str | None:
    """The signature on a call with *members*, taken out of them."""
    extra: Any = members.get(NAME) if members else None
    google: Any = extra.get("google") if type(extra) is dict else None
    signature = google.get("thought_signature") if type(google) is dict else None
    if members is None or google is None or type(signature) is not str or not signature:
        return None
    others = {name: value for name, value in google.items() if name != "thought_signature"}
    rest = {name: value for name, value in extra.items() if name != "google"} | ({"google": others} if others else {})
    del members[NAME]
    if rest:
        members[NAME] = rest
    return signature
