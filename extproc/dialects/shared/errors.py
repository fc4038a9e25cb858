"""Reading error bodies, however servers spell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind, kind_of_status

MAX_MESSAGE = 4096
"""Characters of an upstream's error message that are passed on."""


def read_error(
    body: Any, status: int | None, kinds: Mapping[str, ErrorKind], *, code: str | None = None
) -> ResponseFailed:
    """What an error body means. *kinds* are a dialect's own error types; *status* is the HTTP status, ``None`` within a
    stream. The kind is the status's, so that both sides' SDKs raise the same exception; without a status, or with that
    of a success, it is the type's, or that of a number in ``code``.

    Understood: ``{"error": {...}}``, ``{"error": "text"}``, an array around either (Gemini), ``{"message"}`` (Mistral,
    Bedrock), ``{"detail": "text" | [{"loc", "msg"}]}`` (FastAPI), ``{"object": "error", "message"}`` (old vLLM).
    """
    if type(body) is list and body:
        body = body[0]
    error = body.get("error", body) if type(body) is dict else body
    if type(error) is not dict:
        error = {"message": error}
    type_name, vendor_code = error.get("type"), error.get("code")
    kind = _kind(status, type_name, vendor_code if vendor_code is not None else error.get("status_code"), kinds)
    message = _message(error)
    if not message:
        message = f"upstream returned HTTP {status}" if status else "the upstream reported an error without a message"
    param = error.get("param")
    return ResponseFailed(
        kind,
        message[:MAX_MESSAGE],
        status,
        code or (vendor_code if type(vendor_code) is str else None),
        param if type(param) is str else None,
    )


def _kind(status: int | None, type_name: Any, code: Any, kinds: Mapping[str, ErrorKind]) -> ErrorKind:
    if status is not None and status >= 400:
        return kind_of_status(status)
    if type(type_name) is str and type_name in kinds:
        return kinds[type_name]
    if type(code) is str and code in kinds:
        return kinds[code]
    if type(code) is str and code.isdigit():
        code = int(code)
    if type(code) is int and 400 <= code < 600:
        return kind_of_status(code)
    return ErrorKind.API


def _message(error: dict[str, Any]) -> str:
    for name in ("message", "Message", "detail", "msg"):
        value = error.get(name)
        if type(value) is str and value:
            return value
        if type(value) is list:
            return "; ".join(_detail(item) for item in value)
    return ""


def _detail(item: Any) -> str:
    """One of FastAPI's validation errors."""
    if type(item) is not dict:
        return str(item)
    location = ".".join(str(part) for part in item.get("loc") or ())
    return f"{location}: {item.get('msg', '')}" if location else str(item.get("msg", ""))
