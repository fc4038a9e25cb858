"""Reading error bodies, however servers spell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...llm.events import ResponseFailed
from ...llm.failures import STATUS_OF, ErrorKind, kind_of_status
from ..base import encode
from .fragments import says_something
from .overflow import CODE, read_overflow

MAX_MESSAGE: Final = 4096
"""Characters of an upstream's error message that are passed on."""
_MAX_DEPTH: Final = 4
"""How deep a message may lie within other errors' messages."""

_MESSAGES = ("message", "Message", "faultstring", "detail", "msg", "status_msg", "error_msg", "errorMessage",
             "error_message", "error_description", "errors", "reason", "err_msg", "errmsg", "title")  # fmt: skip
_BARE = ("message", "detail", "msg", "error_msg", "err_msg", "errmsg", "errorMessage", "error_message")
_HOLDERS = ("error", "Error", "fault")
_CODES = ("code", "status_code", "error_code", "http_code", "errcode", "statusCode", "errorCode")
_EMPTY_QUOTA: Final = re.compile(
    r"insufficient[ _](?:account )?(?:balance|credits?|funds|quota)|billing_(?:hard_limit|not_active)"
    r"|credit balance is too low|(?:out of|no|not enough) credits?\b|payment required|account is in arrears|arrearage"
    r"|run out of credits|balance is not enough|not enough balance|\u4f59\u989d\u4e0d\u8db3|\u6b20\u8d39"
    r"|credits? (?:are|is|have been|has been) (?:depleted|exhausted|used up)"
)
"""What was paid for is used up. It is no rate: asking again later changes nothing."""

INSUFFICIENT_QUOTA: Final = "insufficient_quota"
"""OpenAI's code for it, under the status of a rate that was exceeded."""

_MINIMAX: Final[Mapping[int, ErrorKind]] = {
    1000: ErrorKind.API, 1001: ErrorKind.TIMEOUT, 1002: ErrorKind.RATE_LIMIT, 1004: ErrorKind.AUTHENTICATION,
    1008: ErrorKind.BILLING, 1013: ErrorKind.API, 1024: ErrorKind.API, 1026: ErrorKind.INVALID_REQUEST,
    1027: ErrorKind.INVALID_REQUEST, 1033: ErrorKind.API, 1039: ErrorKind.RATE_LIMIT, 1041: ErrorKind.RATE_LIMIT,
    1042: ErrorKind.INVALID_REQUEST, 1043: ErrorKind.INVALID_REQUEST, 1044: ErrorKind.INVALID_REQUEST,
    2013: ErrorKind.INVALID_REQUEST, 2048: ErrorKind.INVALID_REQUEST, 2049: ErrorKind.AUTHENTICATION,
    2056: ErrorKind.RATE_LIMIT,
}  # fmt: skip
"""``base_resp.status_code`` (MiniMax, "Error codes", 2026)."""


def no_use_in_retrying(failed: ResponseFailed) -> bool:
    """Whether asking again helps nothing, although the status says that it may."""
    return failed.kind is ErrorKind.RATE_LIMIT and failed.code == INSUFFICIENT_QUOTA


def says_error(body: Mapping[str, Any]) -> bool:
    """Whether *body* holds an error in one of the ways that mean nothing else. An error of empty members is none:
    servers in Go write it beside a good answer."""
    if says_something(body.get("error")) or body.get("object") == "error" or body.get("type") == "error":
        return True
    return _vendor_error(body) is not None or (
        body.get("success") is False and any(says_something(body.get(name)) for name in _MESSAGES)
    )


def is_bare_error(body: Mapping[str, Any]) -> bool:
    """Whether *body*, which is no answer, is an error as Mistral and FastAPI write it: a message and nothing around."""
    return any(type(body.get(name)) in (str, list) for name in _BARE)


def _vendor_error(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """MiniMax's ``base_resp``, Baidu's ``error_code``: under a status that says that all is well."""
    base = body.get("base_resp")
    if type(base) is dict:
        return base if base.get("status_code") not in (0, None, "0", "") else None
    number = body.get("error_code")
    return dict(body) if number not in (0, None, "0", "") and type(body.get("error_msg")) is str else None


def read_error(
    body: Any, status: int | None, kinds: Mapping[str, ErrorKind], *, code: str | None = None
) -> ResponseFailed:
    """What an error body means. *kinds* are a dialect's own error types; *status* is the HTTP status, ``None`` within a
    stream. The kind is the status's, so that both sides' SDKs raise the same exception; without a status, or with that
    of a success, it is the type's, or that of a number in ``code``. A request that is too long is a 400 with OpenAI's
    code, and an empty quota a matter of billing, whatever the status.

    Understood: ``{"error": {...}}``, ``{"error": "text"}``, an array around either (Gemini), ``{"message"}`` (Mistral,
    Bedrock), ``{"detail": "text" | [{"loc", "msg"}]}`` (FastAPI), ``{"object": "error", "message"}`` (old vLLM),
    ``{"base_resp": {"status_code", "status_msg"}}`` (MiniMax), ``{"code", "msg"}``, ``{"error_code", "error_msg"}``.
    """
    if type(body) is list and body:
        body = body[0]
    error = _error_in(body)
    message = _message(error, 0)
    if not message and type(body) is dict and error is not body:
        message = _message(body, 0)
    type_name, vendor_code = error.get("type"), next((error[name] for name in _CODES if error.get(name)), None)
    if vendor_code is None and type(error.get("status")) is int:
        vendor_code = error["status"]
    named = _details_code(error) or (vendor_code if type(vendor_code) is str else None)
    kind = _kind(status, type_name, vendor_code, kinds)
    if type(body) is dict and error is body.get("base_resp") and type(vendor_code) is int:
        kind = _MINIMAX.get(vendor_code, kind)
    spoken = message + _underneath(error)
    words = " ".join(text for text in (named, type_name, vendor_code) if type(text) is str)
    if kind is not ErrorKind.RATE_LIMIT and read_overflow(spoken, words) is not None:
        kind, named, status = ErrorKind.INVALID_REQUEST, CODE, 400 if status is not None else None
    elif _is_empty_quota(kind, status, named, f"{words} {spoken}".lower()):
        kind, status = ErrorKind.BILLING, STATUS_OF[ErrorKind.BILLING] if status is not None else None
    if not spoken:
        spoken = f"upstream returned HTTP {status}" if status else "the upstream reported an error without a message"
    param = error.get("param")
    return ResponseFailed(kind, spoken[:MAX_MESSAGE], status, code or named, param if type(param) is str else None)


def _error_in(body: Any) -> dict[str, Any]:
    """What in *body* says what went wrong, as an object."""
    if type(body) is not dict:
        return {"message": body}
    vendor = _vendor_error(body)
    held = next((body[name] for name in _HOLDERS if says_something(body.get(name))), None)
    error: Any = held if held is not None else vendor if vendor is not None else body
    if type(error) is dict and type(inner := error.get("error")) in (dict, str) and not _message(error, 0):
        error = inner  # handed on by a gateway, within its own
    if type(error) is dict:
        return error
    if type(error) is str and (said := _message(body, 0)):
        error = f"{error}: {said}"  # Spring names the status there, and says beside it what is wrong
    return {**{name: body[name] for name in _CODES if name in body}, "message": error}


def _is_empty_quota(kind: ErrorKind, status: int | None, code: str | None, said: str) -> bool:
    if status == 429 and code == INSUFFICIENT_QUOTA:
        return False  # OpenAI's own, by which its SDKs choose their exception: see ``no_use_in_retrying``
    # Anthropic says it under 400, others under 403.
    told_by_status = status is not None and 400 <= status not in (400, 403, 429)
    return not told_by_status and kind is not ErrorKind.BILLING and _EMPTY_QUOTA.search(said) is not None


def _details_code(error: Mapping[str, Any]) -> str | None:
    """Anthropic's name of the cause, by which it asks to branch."""
    details = error.get("details")
    named = details.get("error_code") if type(details) is dict else None
    return named if type(named) is str and named else None


def _kind(status: int | None, type_name: Any, code: Any, kinds: Mapping[str, ErrorKind]) -> ErrorKind:
    if status is not None and status >= 400:
        return kind_of_status(status)
    for name in (code, type_name):
        if type(name) is str and name in kinds:
            return kinds[name]
    if type(code) is str and code.isdecimal():
        code = int(code[:9])
    if type(code) is int and 400 <= code < 600:
        return kind_of_status(code)
    return ErrorKind.API


def _message(error: Mapping[str, Any], depth: int) -> str:
    for name in _MESSAGES:
        value = error.get(name)
        if type(value) is str and value:
            return value
        if type(value) is dict and value:
            return (depth < _MAX_DEPTH and _message(value, depth + 1)) or encode(value).decode("utf-8", "replace")
        if type(value) is list and value:
            return "; ".join(_detail(item) for item in value)
    return ""


def _underneath(error: Mapping[str, Any]) -> str:
    """What the provider behind a router (OpenRouter) said itself, where the router's own words say nothing."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if type(metadata) is dict else None
    if type(raw) is str and raw:
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return f": {raw}"
    if type(raw) is dict and raw:
        inner = raw.get("error")
        return f": {_message(inner if type(inner) is dict else {'message': inner} if inner else raw, 0)}"
    return ""


def _detail(item: Any) -> str:
    """One of FastAPI's validation errors."""
    if type(item) is not dict:
        return item if type(item) is str else encode(item).decode("utf-8", "replace")
    location, said = item.get("loc"), item.get("msg", item.get("message", ""))
    if type(location) is not list:
        location = () if location is None else (location,)
    path = ".".join(str(part) for part in location)
    return f"{path}: {said}" if path else str(said)
