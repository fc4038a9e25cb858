"""Token counts, however servers write them."""

from __future__ import annotations

from typing import Any, Final

from ...llm.events import Usage

_MOST: Final = 1 << 53
"""No count is larger: what is beyond it cannot be a whole number in every JSON reader."""


def count(members: Any, *names: str) -> int | None:
    """The count under the first of *names* that says more than nothing, else zero if one says so, else ``None``. Some
    servers know a count under two names and fill in one of them."""
    return _first(members, names)


def _first(members: Any, names: tuple[str, ...]) -> int | None:
    found: int | None = None
    if type(members) is dict:
        for name in names:
            value = members.get(name)
            if value is None:
                continue
            number = whole(value)
            if number:
                return number
            if number is not None:
                found = number
    return found


def whole(value: Any) -> int | None:
    """A count as a number; JSON of some languages writes it with a fraction of zero, or as text."""
    if type(value) is str and value.isdecimal():
        value = int(value[:17])
    if type(value) is float and value.is_integer() and value < _MOST:
        value = int(value)
    return exact(value)


def exact(value: Any) -> int | None:
    """*value*, if it is a count as it stands."""
    return value if type(value) is int and 0 <= value < _MOST else None


def settled(
    input_tokens: int | None, output_tokens: int | None, read: int | None, written: int | None, reasoning: int | None
) -> Usage:
    """Counts whose parts are no more than the whole: what was read from a cache, then what was written to it, then the
    reasoning. OpenRouter counts what was read as written too."""
    if input_tokens is not None:
        read = None if read is None else min(read, input_tokens)
        written = None if written is None else min(written, input_tokens - (read or 0))
    if output_tokens is not None and reasoning is not None:
        reasoning = min(reasoning, output_tokens)
    return Usage(input_tokens, output_tokens, read, written, reasoning)


_PROMPT: Final[tuple[str, ...]] = ("prompt_tokens", "input_tokens", "promptTokens")
_COMPLETION: Final[tuple[str, ...]] = ("completion_tokens", "output_tokens", "completionTokens")
_TOTAL: Final[tuple[str, ...]] = ("total_tokens", "totalTokens")
_THROUGH_CACHE: Final[tuple[str, ...]] = ("cache_read_input_tokens", "cache_creation_input_tokens")
_READ: Final[tuple[str, ...]] = (
    "cached_tokens", "cache_read_input_tokens", "cache_read_tokens", "num_cached_tokens",
)  # fmt: skip
_HIT: Final[tuple[str, ...]] = ("prompt_cache_hit_tokens", *_READ)
_WRITTEN: Final[tuple[str, ...]] = (
    "cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens", "created_cache_tokens",
)  # fmt: skip
"""What servers call the tokens that were read from a cache, and those that were written to it, in the details or beside
the others (LiteLLM, OpenRouter, Moonshot and Together, DashScope)."""

_REASONING: Final[tuple[str, ...]] = ("reasoning_tokens", "thinking_tokens")
_OPENAIS: Final = frozenset({
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
})  # fmt: skip
"""All that there is in OpenAI's own counts."""


def read_openais(usage: dict[str, Any]) -> Usage:
    """Counts by the names of either of OpenAI's APIs: ``prompt_tokens`` is the whole, of which the cache is a part
    (DeepSeek: ``prompt_cache_hit_tokens``)."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    prompt = _first(usage, _PROMPT)
    completion = _first(usage, _COMPLETION)
    read, written = _first(details, _READ), _written(details)
    reasoning = _first(usage.get("completion_tokens_details") or usage.get("output_tokens_details"), _REASONING)
    total = _first(usage, _TOTAL)
    cached = None
    if not _OPENAIS.issuperset(usage):
        # Other servers have these beside the others.
        read, written = _either(read, _first(usage, _HIT)), _either(written, _written(usage))
        reasoning = _either(reasoning, _first(usage, _REASONING))
        cached = _first(usage, _THROUGH_CACHE)
    if cached and "prompt_tokens" not in usage and prompt is not None and prompt < (read or 0) + (written or 0):
        # Anthropic's own counts, whose input leaves out what went through the cache.
        prompt += (read or 0) + (written or 0)
    elif prompt is not None and completion is not None and total is not None:
        if total > prompt + completion and (reasoning is None or total == prompt + completion + reasoning):
            # xAI and Gemini leave reasoning out of the completion.
            completion = total - prompt
    elif total is not None and completion is not None:
        prompt = max(0, total - completion)
    elif total is not None and prompt is not None:
        completion = max(0, total - prompt)
    return settled(prompt, completion, read, written, reasoning)


def _written(members: Any) -> int | None:
    """What was written to a cache; Anthropic also tells it apart by how long it stays."""
    found = _first(members, _WRITTEN)
    return found or added(members.get("cache_creation") if type(members) is dict else None) or found


def added(parts: Any) -> int | None:
    """The counts of *parts* together; ``None`` if there is none."""
    known = [number for value in parts.values() if (number := whole(value))] if type(parts) is dict else []
    return sum(known) if known else None


def _either(first: int | None, second: int | None) -> int | None:
    return first or (second if second is not None else first)
