"""Token counts: OpenAI's, and what other servers call them."""

from __future__ import annotations

from typing import Any

from ...llm.events import Usage
from ..shared.counts import count, settled

_READ = ("cached_tokens", "cache_read_input_tokens", "cache_read_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens", "created_cache_tokens")
"""What servers call the tokens that were read from a cache, and those that were written to it, in the details or beside
the others (LiteLLM, OpenRouter, Moonshot and Together, DashScope)."""


def read_usage(usage: dict[str, Any]) -> Usage:
    """``prompt_tokens`` is the whole, of which the cache is a part (DeepSeek: ``prompt_cache_hit_tokens``)."""
    details = usage.get("prompt_tokens_details")
    prompt, completion = (
        count(usage, "prompt_tokens", "input_tokens"),
        count(usage, "completion_tokens", "output_tokens"),
    )
    read = _either(count(details, *_READ), count(usage, "prompt_cache_hit_tokens", *_READ))
    written = _either(count(details, *_WRITTEN), count(usage, *_WRITTEN))
    of_answer = count(usage.get("completion_tokens_details"), "reasoning_tokens")
    reasoning = _either(of_answer, count(usage, "reasoning_tokens"))
    total = count(usage, "total_tokens")
    if reasoning and None not in (prompt, completion, total) and total == prompt + completion + reasoning:  # type: ignore[operator]
        # xAI leaves reasoning out of the completion.
        completion = total - prompt  # type: ignore[operator]
    return settled(prompt, completion, read, written, reasoning)


def _either(first: int | None, second: int | None) -> int | None:
    return first or (second if second is not None else first)


def write_usage(usage: Usage) -> dict[str, Any] | None:
    """``None`` when nothing is known: numbers are never made up."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    prompt, completion = usage.input_tokens or 0, usage.output_tokens or 0
    out: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0},
    }
    if usage.cache_write_tokens:
        out["prompt_tokens_details"]["cache_write_tokens"] = usage.cache_write_tokens
    if usage.reasoning_tokens is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return out
