"""Errors, and headers that say something of a response (Anthropic's API reference, "Errors" and "Rate limits")."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ..base import Env, Headers, Meta, ResponseHead, encode
from ..shared.emitter import error_status
from ..shared.errors import no_use_in_retrying
from ..shared.overflow import read_overflow
from .vocabulary import ERROR_TYPES, NO_THREADS

OVERLOADED: Final = 529
TOO_LONG: Final = "prompt is too long: "
"""How the API's message begins when the context is full: agents look for it, and make their history shorter."""

TOO_MUCH: Final = "input length and `max_tokens` exceed context limit"
"""How it begins when only the answer that may come does not fit: agents ask for a shorter one."""

_LIMIT: Final = "anthropic-ratelimit-"
_LIMITED = ("requests", "tokens")
_INDEX: Final = re.compile(r"\[(\d+)\]")


def read_meta(head: ResponseHead, env: Env) -> Meta:
    limits: dict[str, str] = {}
    resets: dict[str, float] = {}
    for limited in _LIMITED:
        for what in ("limit", "remaining"):
            if value := head.header(f"{_LIMIT}{limited}-{what}"):
                limits[f"{limited}-{what}"] = value
        if (reset := _instant(head.header(f"{_LIMIT}{limited}-reset"))) is not None:
            resets[limited] = reset
    return Meta(
        head.header("request-id") or None,
        head.header("retry-after") or None,
        head.header("retry-after-ms") or None,
        head.header("x-should-retry") or None,
        limits,
        resets,
    )


def write_meta(meta: Meta) -> Headers:
    retry_after = meta.retry_after
    if retry_after is None and meta.retry_after_ms is not None:
        retry_after = _seconds(meta.retry_after_ms)
    headers = [
        ("request-id", meta.request_id),
        ("retry-after", retry_after),
        ("retry-after-ms", meta.retry_after_ms),
        ("x-should-retry", meta.should_retry),
    ]
    for limit, number in meta.limits.items():
        headers.append((f"{_LIMIT}{limit}", number))
    for limit, at in meta.resets.items():
        headers.append((f"{_LIMIT}{limit}-reset", _rfc3339(at)))
    return [(name, value) for name, value in headers if value]


def emit_error(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    body = error_object(failed)
    if meta.request_id:
        body["request_id"] = meta.request_id
    if no_use_in_retrying(failed):
        meta = replace(meta, should_retry="false")
    headers = [("content-type", "application/json"), *write_meta(meta)]
    return ResponseHead(error_status(failed, OVERLOADED), headers), encode(body)


def error_object(failed: ResponseFailed) -> dict[str, Any]:
    error: dict[str, Any] = {"type": ERROR_TYPES[failed.kind], "message": _message(failed)}
    if failed.ours and failed.code == NO_THREADS:
        error["details"] = {"error_code": NO_THREADS, "unsupported": [failed.param]}
    return {"type": "error", "error": error}


def _message(failed: ResponseFailed) -> str:
    message = failed.message
    if failed.ours and failed.param:
        return _with_path(message, failed.param)
    if failed.kind is not ErrorKind.INVALID_REQUEST or failed.ours:
        return message
    overflow = read_overflow(message, failed.code)
    if overflow is None:
        return message
    if overflow.prompt_fits:
        counts = f"{overflow.input_tokens} + {overflow.max_tokens} > {overflow.limit}"
        return f"{TOO_MUCH}: {counts}, decrease input length or `max_tokens` and try again"
    return message if message.startswith((TOO_LONG, TOO_MUCH)) else TOO_LONG + message


def _with_path(message: str, path: str) -> str:
    """The path in front, as this API writes it: ``messages.0.content.1: ...``."""
    dotted = _INDEX.sub(r".\1", path)
    if message.startswith((f"{path}:", f"{path} ")):
        return dotted + message[len(path) :]
    return f"{dotted}: {message}"


def _seconds(milliseconds: str) -> str | None:
    try:
        return str(max(0, -(-int(float(milliseconds)) // 1000)))
    except (ValueError, OverflowError):
        return None


def _instant(text: str) -> float | None:
    """An RFC 3339 instant as Unix time."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _rfc3339(instant: float) -> str | None:
    try:
        return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
