"""Errors and the headers beside them, as OpenAI says them (OpenAI API reference, "Error codes", Nov 2026)."""

from __future__ import annotations

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ..base import Meta, ResponseHead, encode, error_status

_TYPES: dict[ErrorKind, tuple[str, str | None]] = {
    ErrorKind.INVALID_REQUEST: ("invalid_request_error", None),
    ErrorKind.AUTHENTICATION: ("authentication_error", "invalid_api_key"),
    ErrorKind.BILLING: ("billing_error", "billing_error"),
    ErrorKind.PERMISSION: ("permission_error", None),
    ErrorKind.NOT_FOUND: ("not_found_error", None),
    ErrorKind.CONFLICT: ("conflict_error", None),
    ErrorKind.TOO_LARGE: ("request_too_large", None),
    ErrorKind.RATE_LIMIT: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.API: ("server_error", None),
    ErrorKind.TIMEOUT: ("timeout_error", None),
    ErrorKind.OVERLOADED: ("overloaded_error", "overloaded_error"),
}
"""The type, and the code unless the failure has its own."""


def emit_error(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    type_, code = _TYPES[failed.kind]
    error = {"message": failed.message, "type": type_, "param": failed.param, "code": failed.code or code}
    pairs = [
        ("content-type", "application/json"),
        ("x-request-id", meta.request_id),
        ("retry-after", meta.retry_after),
        ("retry-after-ms", meta.retry_after_ms),
        ("x-should-retry", meta.should_retry),
    ]
    headers = [(name, text) for name, text in pairs if text]
    return ResponseHead(error_status(failed, overloaded=503), headers), encode({"error": error})


def read_meta(head: ResponseHead) -> Meta:
    """What the response's headers say beside its limits, which pass as they are."""
    return Meta(
        request_id=head.header("x-request-id") or None,
        retry_after=head.header("retry-after") or None,
        retry_after_ms=head.header("retry-after-ms") or None,
        should_retry=head.header("x-should-retry") or None,
    )
