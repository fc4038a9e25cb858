"""What Google's APIs share: errors, ``google.rpc.Status`` under ``error``; what a response's headers say; names.

Google, "API design guide: errors"; the codes and their HTTP statuses are those of ``google/rpc/code.proto``.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ...llm.embeddings import EmbedRequest
from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ...llm.losses import LossReport
from ..base import Headers, Meta, ResponseHead, encode, member_at
from .emitter import error_status
from .errors import read_error
from .overflow import CODE
from .purposes import GOOGLE

OVERLOADED: Final = 503

ERROR_KINDS: Final = {
    "INVALID_ARGUMENT": ErrorKind.INVALID_REQUEST,
    "FAILED_PRECONDITION": ErrorKind.INVALID_REQUEST,
    "OUT_OF_RANGE": ErrorKind.INVALID_REQUEST,
    "UNAUTHENTICATED": ErrorKind.AUTHENTICATION,
    "PERMISSION_DENIED": ErrorKind.PERMISSION,
    "NOT_FOUND": ErrorKind.NOT_FOUND,
    "ABORTED": ErrorKind.CONFLICT,
    "ALREADY_EXISTS": ErrorKind.CONFLICT,
    "RESOURCE_EXHAUSTED": ErrorKind.RATE_LIMIT,
    "CANCELLED": ErrorKind.API,
    "DATA_LOSS": ErrorKind.API,
    "INTERNAL": ErrorKind.API,
    "UNIMPLEMENTED": ErrorKind.API,
    "UNKNOWN": ErrorKind.API,
    "UNAVAILABLE": ErrorKind.OVERLOADED,
    "DEADLINE_EXCEEDED": ErrorKind.TIMEOUT,
}
_NAMES: Final = {
    ErrorKind.INVALID_REQUEST: "INVALID_ARGUMENT",
    ErrorKind.AUTHENTICATION: "UNAUTHENTICATED",
    ErrorKind.BILLING: "FAILED_PRECONDITION",
    ErrorKind.PERMISSION: "PERMISSION_DENIED",
    ErrorKind.NOT_FOUND: "NOT_FOUND",
    ErrorKind.CONFLICT: "ABORTED",
    ErrorKind.TOO_LARGE: "INVALID_ARGUMENT",
    ErrorKind.RATE_LIMIT: "RESOURCE_EXHAUSTED",
    ErrorKind.API: "INTERNAL",
    ErrorKind.TIMEOUT: "DEADLINE_EXCEEDED",
    ErrorKind.OVERLOADED: "UNAVAILABLE",
}
_INFO: Final = "type.googleapis.com/google.rpc."
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)s\Z")


def read_failure(body: Any, status: int | None) -> ResponseFailed:
    """What an error body means; *status* is the HTTP status, ``None`` within a stream."""
    error = members_of(body)
    named = error.get("status")
    failed = read_error(body, status, ERROR_KINDS)
    kind, too_long = failed.kind, failed.code == CODE
    if too_long:
        status = failed.status  # whatever it is called
    elif type(named) is str and named in ERROR_KINDS and (status is None or status < 400):
        kind = ERROR_KINDS[named]
    elif status == 400 and _reason(error) in ("API_KEY_INVALID", "API_KEY_EXPIRED"):
        # Said with the status of a wrong request.
        kind, status = ErrorKind.AUTHENTICATION, 401
    code = named if type(named) is str and not too_long else failed.code
    return ResponseFailed(kind, failed.message, status, code, _field(error), retry_after=_retry_after(error))


def _retry_after(error: dict[str, Any]) -> str | None:
    """How long to wait before asking again, in whole seconds as a header says them."""
    for detail in _details(error):
        delay = detail.get("retryDelay")
        found = _DURATION.match(delay) if type(delay) is str else None
        if found is not None:
            return str(-(-int(float(found.group(1)) * 1000) // 1000))
    return None


def members_of(body: Any) -> dict[str, Any]:
    """The status in a body, which may be an element of an array."""
    if type(body) is list and body:
        body = body[0]
    error = body.get("error", body) if type(body) is dict else {}
    return error if type(error) is dict else {}


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if type(detail) is dict] if type(details) is list else []


def _reason(error: dict[str, Any]) -> str:
    for detail in _details(error):
        if type(reason := detail.get("reason")) is str:
            return reason
    return ""


def _field(error: dict[str, Any]) -> str | None:
    """The path in the request that is at fault, where a single one is named."""
    for detail in _details(error):
        violations = detail.get("fieldViolations")
        if type(violations) is list and len(violations) == 1 and type(violations[0]) is dict:
            field = violations[0].get("field")
            return field if type(field) is str and field else None
    return None


def emit_error(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    """An error response."""
    status = error_status(failed, OVERLOADED)
    headers = [("content-type", "application/json; charset=utf-8"), *write_meta(meta)]
    return ResponseHead(status, headers), encode(error_body(failed, status, meta))


def error_body(failed: ResponseFailed, status: int | None = None, meta: Meta | None = None) -> dict[str, Any]:
    """*status* is the one that is answered; within a stream, the kind's own."""
    status = status or error_status(failed, OVERLOADED)
    message = failed.message
    if failed.ours and failed.param and not message.startswith(failed.param):
        message = f"{failed.param}: {message}"
    error: dict[str, Any] = {"code": status, "message": message, "status": _NAMES[failed.kind]}
    details: list[dict[str, Any]] = []
    if failed.kind is ErrorKind.INVALID_REQUEST and failed.param:
        violation = {"field": failed.param, "description": failed.message}
        details.append({"@type": f"{_INFO}BadRequest", "fieldViolations": [violation]})
    if meta is not None and meta.retry_after and meta.retry_after.isdecimal():
        details.append({"@type": f"{_INFO}RetryInfo", "retryDelay": f"{meta.retry_after}s"})
    if details:
        error["details"] = details
    return {"error": error}


def read_meta(head: ResponseHead) -> Meta:
    return Meta(
        request_id=head.header("x-goog-request-id") or head.header("x-request-id") or None,
        retry_after=head.header("retry-after") or None,
    )


def write_meta(meta: Meta) -> Headers:
    pairs = (("x-goog-request-id", meta.request_id), ("retry-after", meta.retry_after))
    return [(name, value) for name, value in pairs if value]


def model_name(model: str) -> str:
    """A model's name without what Google's other APIs put before it: the path has these words already."""
    return model.removeprefix("models/").removeprefix("google/")


_WITHIN: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]])


def renamed(members: dict[str, Any], model: str) -> dict[str, Any]:
    """*members* with *model* for the one that they name, as the path does; themselves, where they name none."""
    named = member_at(members, "model")
    if type(named) is not str:
        return members
    before, slash, _ = named.rpartition("/")
    return {**members, "model": f"{before}{slash}{model_name(model)}"}


def renamed_within(members: dict[str, Any], name: str, model: str) -> dict[str, Any]:
    """*members*, where the object that *name* is, or each object of the list, names *model*."""
    held = members.get(name)
    if type(held) is not msgspec.Raw:
        return members
    try:
        inner = _WITHIN.decode(held)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return members
    if type(inner) is dict:
        named = renamed(inner, model)
        return members if named is inner else {**members, name: named}
    each = [renamed(one, model) for one in inner]
    changed = any(one is not other for one, other in zip(each, inner, strict=True))
    return {**members, name: each} if changed else members


def task(request: EmbedRequest, losses: LossReport) -> dict[str, Any]:
    """What the vectors are for, as ``taskType`` and ``title``, which only a document may have."""
    said: dict[str, Any] = {}
    if request.purpose is not None:
        said["taskType"] = GOOGLE[request.purpose]
    if request.title is not None and request.purpose == "document":
        said["title"] = request.title
    elif request.title is not None:
        losses.dropped(request.path_of("title"), "only what is embedded as a document has a title")
    return said
