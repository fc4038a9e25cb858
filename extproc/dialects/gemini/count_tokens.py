"""``countTokens`` (Gemini API and Vertex AI references, November 2026)."""

from __future__ import annotations

from typing import Any, Final

from ..shared.estimate import read_count

_VERTEX: Final = "/publishers/"
_COUNTED = ("contents", "systemInstruction", "tools")


def members(request: dict[str, Any], model: str, path: str) -> dict[str, Any]:
    """The question how many tokens *request* has: Vertex takes its members as they are, the Gemini API beside the
    contents only within the request that they are for."""
    counted = {name: request[name] for name in _COUNTED if name in request}
    if _VERTEX in path:
        return counted
    return {"generateContentRequest": {"model": f"models/{model.removeprefix('models/')}", **counted}}


def read(body: bytes) -> int | None:
    """The number in an answer; ``None`` when there is none."""
    return read_count(body, "totalTokens")
