"""Errors as Cohere says them: ``{"message"}`` under the status that says what kind it is, with an id."""

from __future__ import annotations

from typing import Any

from ...llm.events import ResponseFailed
from ..base import Meta, ResponseHead, encode
from ..shared.emitter import error_status
from ..shared.errors import read_error


def read(error: Any, status: int | None) -> ResponseFailed:
    return read_error(error, status, {})


def read_meta(head: ResponseHead) -> Meta:
    return Meta(
        request_id=head.header("x-debug-trace-id") or None,
        retry_after=head.header("retry-after") or None,
    )


def emit(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    """An error response."""
    message = failed.message
    if failed.ours and failed.param and not message.startswith(failed.param):
        message = f"{failed.param}: {message}"
    pairs = (("x-debug-trace-id", meta.request_id), ("retry-after", meta.retry_after))
    headers = [("content-type", "application/json"), *((name, value) for name, value in pairs if value)]
    return ResponseHead(error_status(failed, overloaded=503), headers), encode({"message": message})
