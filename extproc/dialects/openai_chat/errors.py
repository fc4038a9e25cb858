"""Errors, and the headers that say something of a response (OpenAI API reference, "Error codes" and "Rate limits")."""

from __future__ import annotations

import re
from typing import Any

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ..base import Env, Headers, Meta, ResponseHead, encode, error_status
from .vocabulary import ERROR_TYPES

OVERLOADED = 503

_LIMITED = ("requests", "tokens")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def emit_error(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    status = error_status(failed, OVERLOADED)
    headers = [("content-type", "application/json"), *write_meta(meta)]
    return ResponseHead(status, headers), encode(error_body(failed, status))


def error_body(failed: ResponseFailed, status: int | None = None) -> dict[str, Any]:
    """*status* is ``None`` within a stream."""
    type_, code = ERROR_TYPES[failed.kind]
    code, param = failed.code or code, failed.param
    text = failed.message.lower()
    if failed.kind is ErrorKind.API and status not in (None, 500):
        type_ = "server_error"
    elif failed.kind is ErrorKind.INVALID_REQUEST and text.startswith(("prompt is too long", "input is too long")):
        code, param = "context_length_exceeded", param or "messages"
    elif failed.kind is ErrorKind.NOT_FOUND and "model" in text:
        type_, code = "invalid_request_error", failed.code or "model_not_found"
    return {"error": {"message": failed.message, "type": type_, "param": param, "code": code}}


def read_meta(head: ResponseHead, env: Env) -> Meta:
    limits: dict[str, str] = {}
    resets: dict[str, float] = {}
    for limited in _LIMITED:
        for what in ("limit", "remaining"):
            if value := head.header(f"x-ratelimit-{what}-{limited}"):
                limits[f"{limited}-{what}"] = value
        if (after := seconds(head.header(f"x-ratelimit-reset-{limited}"))) is not None:
            resets[limited] = env.now + after
    return Meta(
        head.header("x-request-id") or None,
        head.header("retry-after") or None,
        head.header("retry-after-ms") or None,
        head.header("x-should-retry") or None,
        limits,
        resets,
    )


def write_meta(meta: Meta, now: float | None = None) -> Headers:
    """The headers that say *meta*. Resets are durations here: they are told only when it is known what time it is."""
    pairs = [
        ("x-request-id", meta.request_id),
        ("retry-after", meta.retry_after),
        ("retry-after-ms", meta.retry_after_ms),
        ("x-should-retry", meta.should_retry),
    ]
    for name, number in meta.limits.items():
        limited, _, what = name.partition("-")
        pairs.append((f"x-ratelimit-{what}-{limited}", number))
    if now is not None:
        pairs += [(f"x-ratelimit-reset-{limited}", duration(at - now)) for limited, at in meta.resets.items()]
    return [(name, text) for name, text in pairs if text]


def seconds(text: str) -> float | None:
    """A duration such as ``6m0s``, ``1d2h`` or ``120ms``; some servers leave the unit out and mean seconds."""
    text = text.strip()
    found = _DURATION.fullmatch(text) if text else None
    if found is not None and any(found.groups()):
        return sum(float(number) * unit for number, unit in zip(found.groups(), _SECONDS, strict=True) if number)
    try:
        plain = float(text)
    except ValueError:
        return None
    # A larger number is an instant in milliseconds (OpenRouter), which says nothing that can be trusted.
    return plain if 0 <= plain < 1e7 else None


def duration(after: float) -> str:
    """*after* seconds as OpenAI writes it; no less than nothing."""
    hours, rest = divmod(max(0, round(after)), 3600)
    minutes, secs = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{secs}s"
