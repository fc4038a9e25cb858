"""Token counts: OpenAI's, and what other servers call them."""

from __future__ import annotations

from typing import Any

from ...llm.events import Usage


def read_usage(usage: dict[str, Any]) -> Usage:
    """Servers differ in where they count the cache: OpenAI in details, DeepSeek as ``prompt_cache_hit_tokens``,
    Moonshot and Together as ``cached_tokens`` beside the others."""
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    read = _count(usage.get("prompt_tokens_details"), "cached_tokens")
    for name in ("prompt_cache_hit_tokens", "cached_tokens"):
        if read is None:
            read = _count(usage, name)
    written = _count(usage.get("prompt_tokens_details"), "cache_write_tokens")
    reasoning = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning is None:
        reasoning = _count(usage, "reasoning_tokens")
    total = _count(usage, "total_tokens")
    if reasoning and None not in (prompt, completion, total) and total == prompt + completion + reasoning:  # type: ignore[operator]
        # xAI leaves reasoning out of the completion.
        completion = total - prompt  # type: ignore[operator]
    return Usage(prompt, completion, read, written, reasoning)


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


def _count(members: Any, name: str) -> int | None:
    value = members.get(name) if type(members) is dict else None
    return value if type(value) is int and value >= 0 else None
