"""Errors and the headers beside them, as OpenAI says them."""

from __future__ import annotations

import re
from typing import Any

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ..base import Env, Headers, Meta, ResponseHead, encode, error_status

KINDS = {
    "invalid_request_error": ErrorKind.INVALID_REQUEST,
    "invalid_prompt": ErrorKind.INVALID_REQUEST,
    "context_length_exceeded": ErrorKind.INVALID_REQUEST,
    "authentication_error": ErrorKind.AUTHENTICATION,
    "invalid_api_key": ErrorKind.AUTHENTICATION,
    "billing_error": ErrorKind.BILLING,
    "permission_error": ErrorKind.PERMISSION,
    "not_found_error": ErrorKind.NOT_FOUND,
    "model_not_found": ErrorKind.NOT_FOUND,
    "conflict_error": ErrorKind.CONFLICT,
    "request_too_large": ErrorKind.TOO_LARGE,
    "rate_limit_error": ErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": ErrorKind.RATE_LIMIT,
    "too_many_requests": ErrorKind.RATE_LIMIT,
    "insufficient_quota": ErrorKind.RATE_LIMIT,
    "api_error": ErrorKind.API,
    "server_error": ErrorKind.API,
    "timeout_error": ErrorKind.TIMEOUT,
    "vector_store_timeout": ErrorKind.TIMEOUT,
    "overloaded_error": ErrorKind.OVERLOADED,
    "server_is_overloaded": ErrorKind.OVERLOADED,
    "slow_down": ErrorKind.OVERLOADED,
}
"""Error types, and codes where no type comes (``response.failed``)."""

_TYPES: dict[ErrorKind, tuple[str, str | None]] = {
    ErrorKind.INVALID_REQUEST: ("invalid_request_error", None),
    ErrorKind.AUTHENTICATION: ("authentication_error", "invalid_api_key"),
    ErrorKind.BILLING: ("billing_error", "billing_error"),
    ErrorKind.PERMISSION: ("permission_error", None),
    ErrorKind.NOT_FOUND: ("not_found_error", None),
    ErrorKind.CONFLICT: ("conflict_error", None),
    ErrorKind.TOO_LARGE: ("request_too_large", None),
    ErrorKind.RATE_LIMIT: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.API: ("api_error", None),
    ErrorKind.TIMEOUT: ("timeout_error", None),
    ErrorKind.OVERLOADED: ("overloaded_error", "overloaded_error"),
}
"""The type, and the code unless the failure has its own."""

_LIMITS = ("requests-limit", "requests-remaining", "tokens-limit", "tokens-remaining")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def error_members(failed: ResponseFailed, *, status: int | None) -> dict[str, Any]:
    """The error object. *status* is the one that is answered, ``None`` within a stream."""
    type_, code = _TYPES[failed.kind]
    if failed.kind is ErrorKind.API and status not in (None, 500):
        type_ = "server_error"
    code, param = failed.code or code, failed.param
    text = failed.message.lower()
    if failed.kind is ErrorKind.INVALID_REQUEST and text.startswith(("prompt is too long", "input is too long")):
        code, param = "context_length_exceeded", param or "input"
    elif failed.kind is ErrorKind.NOT_FOUND and "model" in text:
        type_, code = "invalid_request_error", failed.code or "model_not_found"
    return {"message": failed.message, "type": type_, "param": param, "code": code}


def emit_error(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    """An error response."""
    status = error_status(failed, overloaded=503)
    headers = [("content-type", "application/json"), *meta_headers(meta)]
    return ResponseHead(status, headers), encode({"error": error_members(failed, status=status)})


def read_meta(head: ResponseHead, env: Env) -> Meta:
    """What the response's headers say."""

    def value(name: str) -> str | None:
        return head.header(name) or None

    limits, resets = {}, {}
    for name in _LIMITS:
        what, which = name.split("-")
        if number := value(f"x-ratelimit-{which}-{what}"):
            limits[name] = number
    for what in ("requests", "tokens"):
        after = seconds(head.header(f"x-ratelimit-reset-{what}"))
        if after is not None:
            resets[what] = env.now + after
    return Meta(
        request_id=value("x-request-id"),
        retry_after=value("retry-after"),
        retry_after_ms=value("retry-after-ms"),
        should_retry=value("x-should-retry"),
        limits=limits,
        resets=resets,
    )


def meta_headers(meta: Meta, now: float | None = None) -> Headers:
    """The headers that say *meta*. Resets are told only when it is known what time it is."""
    pairs = [
        ("x-request-id", meta.request_id),
        ("retry-after", meta.retry_after),
        ("retry-after-ms", meta.retry_after_ms),
        ("x-should-retry", meta.should_retry),
    ]
    for name, number in meta.limits.items():
        what, which = name.split("-")
        pairs.append((f"x-ratelimit-{which}-{what}", number))
    if now is not None:
        pairs += [(f"x-ratelimit-reset-{what}", duration(at - now)) for what, at in meta.resets.items()]
    return [(name, text) for name, text in pairs if text]


def seconds(text: str) -> float | None:
    """A duration such as ``6m0s``, ``1d2h`` or ``120ms``."""
    found = _DURATION.fullmatch(text.strip()) if text else None
    if found is None or not any(found.groups()):
        return None
    return sum(float(number) * unit for number, unit in zip(found.groups(), _SECONDS, strict=True) if number)


def duration(after: float) -> str:
    """*after* seconds as OpenAI writes it; no less than nothing."""
    whole = max(0, round(after))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{secs}s"
