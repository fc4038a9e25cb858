"""Errors as Bedrock says them: an exception's name in a header, and ``{"message"}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from ...llm.events import ResponseFailed
from ...llm.failures import ErrorKind
from ..base import Headers, Meta, ResponseHead, encode
from .emitter import error_status
from .errors import read_error
from .overflow import CODE

ERROR_TYPE: Final = "x-amzn-errortype"
REQUEST_ID: Final = "x-amzn-requestid"

_EXCEPTIONS: Final[dict[str, tuple[int, ErrorKind]]] = {
    "ValidationException": (400, ErrorKind.INVALID_REQUEST),
    "AccessDeniedException": (403, ErrorKind.PERMISSION),
    "UnrecognizedClientException": (403, ErrorKind.PERMISSION),
    "ResourceNotFoundException": (404, ErrorKind.NOT_FOUND),
    "ConflictException": (409, ErrorKind.CONFLICT),
    "ModelTimeoutException": (408, ErrorKind.TIMEOUT),
    "ThrottlingException": (429, ErrorKind.RATE_LIMIT),
    "ModelNotReadyException": (429, ErrorKind.RATE_LIMIT),
    # A 400 on the wire, but no fault of this request: asking again later may work.
    "ServiceQuotaExceededException": (429, ErrorKind.RATE_LIMIT),
    # 424 on the wire, which every other API's client would take for its own fault.
    "ModelErrorException": (502, ErrorKind.API),
    "ModelStreamErrorException": (502, ErrorKind.API),
    "InternalServerException": (500, ErrorKind.API),
    "ServiceUnavailableException": (503, ErrorKind.OVERLOADED),
}
"""What each exception stands for: the status to pass on, and the kind."""

_NAMES: Final = {
    ErrorKind.INVALID_REQUEST: "ValidationException",
    ErrorKind.AUTHENTICATION: "AccessDeniedException",
    ErrorKind.BILLING: "AccessDeniedException",
    ErrorKind.PERMISSION: "AccessDeniedException",
    ErrorKind.NOT_FOUND: "ResourceNotFoundException",
    ErrorKind.CONFLICT: "ConflictException",
    ErrorKind.TOO_LARGE: "ValidationException",
    ErrorKind.RATE_LIMIT: "ThrottlingException",
    ErrorKind.API: "InternalServerException",
    ErrorKind.TIMEOUT: "ModelTimeoutException",
    ErrorKind.OVERLOADED: "ServiceUnavailableException",
}
"""The exception that SDKs raise, for each kind: they choose it by this name, not by the status."""


COUNT: Final = "/count-tokens"
"""What follows a model's path for CountTokens (Bedrock Runtime API reference)."""
TOKENS: Final = "inputTokens"
"""The answer's number."""
_GEOGRAPHY: Final = re.compile(r"(?:us|eu|apac|global|jp|au|ca|us-gov)\.(?=[a-z0-9-]+\.)")


def count_address(address: tuple[str, str], verb: str, model: str) -> tuple[str, str] | None:
    """Where the tokens of a request to *address* are counted, whose path ends with *verb*; ``None`` where it does not.
    CountTokens knows a model by its own name alone, without a geography before it."""
    method, path = address
    bare, mark, query = path.partition("?")
    if not bare.endswith(verb):
        return None
    stem, _, last = bare.removesuffix(verb).rpartition("/")
    named = quote(model, safe="")
    own = quote(_GEOGRAPHY.sub("", model, count=1), safe="") if last == named else last
    return method, f"{stem}/{own}{COUNT}{mark}{query}"


def read_meta(head: ResponseHead) -> Meta:
    """What the response's headers say."""
    return Meta(
        request_id=head.header(REQUEST_ID) or None,
        retry_after=head.header("retry-after") or None,
    )


def meta_headers(meta: Meta) -> Headers:
    """The headers that say *meta*."""
    pairs = ((REQUEST_ID, meta.request_id), ("retry-after", meta.retry_after))
    return [(name, value) for name, value in pairs if value]


def exception_name(text: str) -> str:
    """The exception's name out of a header or a member: ``Name:http://...``, ``com.amazon#Name``, ``name``."""
    name = text.partition(":")[0].rpartition("#")[2].strip()
    return name[:1].upper() + name[1:]


def failure(name: str, body: Any, status: int | None) -> ResponseFailed:
    """What exception *name* with *body* means. *status* is the HTTP status, ``None`` within a stream."""
    failed = read_error(body, status, {})
    known = _EXCEPTIONS.get(name)
    if failed.code == CODE and not (known and known[1] is ErrorKind.RATE_LIMIT):
        return failed  # whatever it is called
    kind = known[1] if known else failed.kind
    if known and status is not None and status >= 400:
        status = known[0]
    return ResponseFailed(kind, failed.message, status, failed.code)


def message(failed: ResponseFailed) -> str:
    """The message for a client of Converse, which has no other member for the place that is at fault."""
    if failed.ours and failed.param and not failed.message.startswith(failed.param):
        return f"{failed.param}: {failed.message}"
    return failed.message


def emit_error(failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
    """An error response."""
    headers = [("content-type", "application/json"), (ERROR_TYPE, _NAMES[failed.kind]), *meta_headers(meta)]
    return ResponseHead(error_status(failed, overloaded=503), headers), encode({"message": message(failed)})


def stream_exception(failed: ResponseFailed) -> str:
    """The name that *failed* has in a stream, which knows fewer exceptions than the head of a response."""
    match failed.kind:
        case ErrorKind.RATE_LIMIT:
            return "throttlingException"
        case ErrorKind.OVERLOADED:
            return "serviceUnavailableException"
        case ErrorKind.API | ErrorKind.TIMEOUT:
            truncated = failed.code == "stream_truncated"
            return "modelStreamErrorException" if truncated else "internalServerException"
        case _:
            return "validationException"


def stream_headers(failed: ResponseFailed) -> dict[str, str]:
    """The headers of the message that ends a stream with *failed*."""
    return {
        ":exception-type": stream_exception(failed),
        ":content-type": "application/json",
        ":message-type": "exception",
    }


def failure_in_stream(headers: Mapping[str, Any], body: Any) -> ResponseFailed:
    """What a message of a stream says that is no event. *body* is its payload, decoded."""
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    if type(body) is not dict:
        body = {"message": headers.get(":error-message")}
    return failure(exception_name(str(name)), body, None)


def failure_of_head(head: ResponseHead, body: Any, status: int | None) -> ResponseFailed:
    """What an error's body means, with the name that the head has for it, or the body itself."""
    name = head.header(ERROR_TYPE)
    if not name and type(body) is dict and type(body.get("__type")) is str:
        name = body["__type"]
    return failure(exception_name(name), body, status)


def tokens_of_head(head: ResponseHead) -> int | None:
    """The input's tokens as InvokeModel's headers count them, for models whose answers do not."""
    text = head.header("x-amzn-bedrock-input-token-count")
    return int(text) if text.isdecimal() else None
