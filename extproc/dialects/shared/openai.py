"""What OpenAI's APIs share: error objects, and the headers that say something of a response (OpenAI API reference,
"Error codes" and "Rate limits"). Each of the dialects is a package beside this file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ...llm.fields import Fields
from ...llm.models import Model
from ...llm.request import CacheMarker
from ..base import Env, Headers, Meta, ResponseHead, encode
from .emitter import error_status
from .errors import no_use_in_retrying
from .overflow import CODE, read_overflow

END_USERS = ("safety_identifier", "user")
"""Where a request says for whom it is."""

VENDOR: Final = "openai"
"""Whose file ids these APIs take."""

REQUEST_TIERS: Final = {"auto": "auto", "standard": "default", "flex": "flex", "scale": "scale", "priority": "priority",
                 "fast": "fast"}  # fmt: skip
"""Of a request: our words, and these APIs'."""

ERROR_KINDS: Final = {
    "invalid_request_error": ErrorKind.INVALID_REQUEST,
    "BadRequestError": ErrorKind.INVALID_REQUEST,  # vLLM
    "context_length_exceeded": ErrorKind.INVALID_REQUEST,
    "content_filter": ErrorKind.INVALID_REQUEST,
    "authentication_error": ErrorKind.AUTHENTICATION,
    "invalid_api_key": ErrorKind.AUTHENTICATION,
    "billing_error": ErrorKind.BILLING,
    "permission_error": ErrorKind.PERMISSION,
    "not_found_error": ErrorKind.NOT_FOUND,
    "NotFoundError": ErrorKind.NOT_FOUND,
    "model_not_found": ErrorKind.NOT_FOUND,
    "conflict_error": ErrorKind.CONFLICT,
    "request_too_large": ErrorKind.TOO_LARGE,
    "rate_limit_error": ErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": ErrorKind.RATE_LIMIT,
    "insufficient_quota": ErrorKind.BILLING,
    "requests": ErrorKind.RATE_LIMIT,
    "tokens": ErrorKind.RATE_LIMIT,
    "api_error": ErrorKind.API,
    "server_error": ErrorKind.API,
    "timeout_error": ErrorKind.TIMEOUT,
    "overloaded_error": ErrorKind.OVERLOADED,
    "service_unavailable_error": ErrorKind.OVERLOADED,
    "invalid_prompt": ErrorKind.INVALID_REQUEST,
    "too_many_requests": ErrorKind.RATE_LIMIT,
    "vector_store_timeout": ErrorKind.TIMEOUT,
    "server_is_overloaded": ErrorKind.OVERLOADED,
    "slow_down": ErrorKind.OVERLOADED,
}
"""Error types and codes that come without a status."""

ERROR_TYPES: Final[dict[ErrorKind, tuple[str, str | None]]] = {
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

OVERLOADED: Final = 503

_LIMITS: Final = {
    f"x-ratelimit-{what}-{limited}": (limited, what)
    for limited in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
}
_LIMITED: Final = frozenset(_LIMITS)
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def cache_marker(fields: Fields) -> CacheMarker | None:
    """Takes OpenAI's ``prompt_cache_breakpoint``, and ``cache_control``, which clients of Claude write here too."""
    breakpoint_ = fields.maybe("prompt_cache_breakpoint", dict)
    control, copilot = fields.maybe("cache_control", dict), fields.maybe("copilot_cache_control", dict)
    control = copilot if control is None else control
    if control is not None:
        ttl = control.get("ttl")
        return CacheMarker(ttl if type(ttl) is str else None)
    if breakpoint_ is not None:
        return CacheMarker("1h" if breakpoint_.get("ttl") == "12h" else None)
    return None


def emit_error(failed: ResponseFailed, meta: Meta, input_name: str) -> tuple[ResponseHead, bytes]:
    """An error response. *input_name* is the member that holds what the client said."""
    status = error_status(failed, OVERLOADED)
    if no_use_in_retrying(failed):
        meta = replace(meta, should_retry="false")
    headers = [("content-type", "application/json"), *write_meta(meta)]
    return ResponseHead(status, headers), encode({"error": error_members(failed, input_name, status)})


def error_members(failed: ResponseFailed, input_name: str, status: int | None = None) -> dict[str, Any]:
    """The error object. *status* is the one that is answered, ``None`` within a stream."""
    type_, code = ERROR_TYPES[failed.kind]
    code, param = failed.code or code, failed.param
    text = failed.message.lower()
    if code == CODE or _is_overflow(failed):
        code, param = CODE, param or input_name
    elif failed.kind is ErrorKind.API and status not in (None, 500):
        type_ = "server_error"
    elif failed.kind is ErrorKind.NOT_FOUND and "model" in text:
        type_, code = "invalid_request_error", failed.code or "model_not_found"
    return {"message": failed.message, "type": type_, "param": param, "code": code}


def _is_overflow(failed: ResponseFailed) -> bool:
    told = failed.kind is ErrorKind.INVALID_REQUEST and not failed.ours and failed.code is None
    return told and read_overflow(failed.message) is not None


def read_meta(head: ResponseHead, env: Env) -> Meta:
    found = dict(reversed(head.headers))  # the first of several
    limits: dict[str, str] = {}
    resets: dict[str, float] = {}
    for name, (limited, what) in () if _LIMITED.isdisjoint(found) else _LIMITS.items():
        if not (value := found.get(name)):
            continue
        if what != "reset":
            limits[f"{limited}-{what}"] = value
        elif (after := seconds(value)) is not None:
            resets[limited] = env.now + after
    return Meta(
        found.get("x-request-id") or None,
        found.get("retry-after") or None,
        found.get("retry-after-ms") or None,
        found.get("x-should-retry") or None,
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


def model_object(model: Model) -> dict[str, Any]:
    """As in ``GET /v1/models/{id}`` (OpenAI API reference, Models, November 2026); and where the model has a name for
    people, that too, as OpenRouter has it: clients such as Open WebUI fill their menus with it."""
    named = {"name": model.name} if model.name != model.id else {}
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner, **named}


def models_list(models: Iterable[Model]) -> dict[str, Any]:
    """As in ``GET /v1/models``; the API knows no pages."""
    return {"object": "list", "data": [model_object(model) for model in models]}
