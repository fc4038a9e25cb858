"""Answers to Envoy: what changes in headers and bodies, with nothing said about what stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from ..envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    HeaderMutation,
    ProcessingResponse,
)
from ..headers import Headers
from . import written
from .phases import Kind

NAMESPACE = "extproc"
"""Our namespace in dynamic metadata."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAMES = {kind: kind.value for kind in Kind}
"""Looked up: what Enum does for a ``value`` takes as long as the member that is named."""
_TRAILERS = frozenset({Kind.REQUEST_TRAILERS, Kind.RESPONSE_TRAILERS})


def _bytes(value: str) -> bytes:
    if _CONTROL.search(value):
        # Envoy answers a header with a line break in it with a bare 500.
        value = _CONTROL.sub(" ", value).strip()
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()


def _grouped(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value for each name; several are joined by commas, as HTTP allows."""
    grouped: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for name, value in headers:
        if name in grouped:
            # Put together once, however often it comes.
            several.setdefault(name, [grouped[name]]).append(value)
        else:
            grouped[name] = value
    for name, values in several.items():
        grouped[name] = ",".join(values)
    return grouped


def diff(came: Iterable[tuple[str, str]], wanted: Iterable[tuple[str, str]]) -> HeaderMutation:
    """What turns the headers that *came* into those that are *wanted*."""
    old, new = _grouped(came), _grouped(wanted)
    differing = [written.header(name, _bytes(value)) for name, value in new.items() if old.get(name) != value]
    mutation = HeaderMutation.FromString(b"".join(differing))
    mutation.remove_headers.extend([name for name in old if name not in new])
    return mutation


def set_header(mutation: HeaderMutation, name: str, value: str) -> None:
    """Set *name*, in place of whatever values it has."""
    mutation.MergeFromString(written.header(name, _bytes(value)))


def set_after_all(mutation: HeaderMutation, name: str, value: str) -> None:
    """The same where *mutation* may say already that *name* is to be removed: then it says so no more."""
    if name in mutation.remove_headers:
        gone = [other for other in mutation.remove_headers if other != name]
        del mutation.remove_headers[:]
        mutation.remove_headers.extend(gone)
    set_header(mutation, name, value)


def proceed(
    kind: Kind,
    headers: HeaderMutation | None = None,
    body: bytes | None = None,
    *,
    replace: bool = False,
    clear_route_cache: bool = False,
) -> ProcessingResponse:
    """The answer to a message of *kind*: go on, with other headers or another body where they are given. ``b""``
    empties the body, ``None`` leaves it. *replace*: nothing more of this message is to come, the body is *body*."""
    response = ProcessingResponse()
    answer = getattr(response, _NAMES[kind])
    if kind in _TRAILERS:
        answer.SetInParent()
        return response
    # Filled in place: a message that is handed to a constructor is copied, with the body in it, once for each level.
    common: CommonResponse = answer.response
    common.SetInParent()
    if headers is not None:
        common.header_mutation.CopyFrom(headers)
    if clear_route_cache:
        common.clear_route_cache = True
    if body is not None:
        common.body_mutation.body = body
    if replace:
        common.status = CommonResponse.CONTINUE_AND_REPLACE
    return response


UNCHANGED = {kind: proceed(kind) for kind in Kind}
"""Answers that change nothing. Shared: not to be written to."""

EMPTIED = proceed(Kind.RESPONSE_BODY, body=b"")
"""The answer to a piece of the body of which nothing goes on: without it Envoy would send the upstream's own bytes.
Shared: not to be written to."""


def _holding(response_body: int, trailers: int) -> ProcessingResponse:
    response = proceed(Kind.REQUEST_HEADERS)
    mode = response.mode_override
    mode.request_body_mode = ProcessingMode.BUFFERED
    mode.response_header_mode = ProcessingMode.SEND
    mode.response_body_mode = response_body  # type: ignore[assignment]
    mode.request_trailer_mode = mode.response_trailer_mode = trailers  # type: ignore[assignment]
    return response


HOLDING = {
    mode: _holding(mode, ProcessingMode.SKIP if mode == ProcessingMode.NONE else ProcessingMode.SEND)
    for mode in (ProcessingMode.NONE, ProcessingMode.BUFFERED)
}
"""By the mode of the response's body: answers to a request's headers that wait for its body, and ask for the response's
headers as well. Shared: not to be written to.

A filter that is *configured* to see responses' headers keeps back what Envoy's HTTP codec answers by itself (400, 426,
431): Envoy closes the connection before we have been asked, and the client gets not a byte (seen on 1.37 to 1.40). So
``response_header_mode`` is SKIP on the listener, and this asks for them once a request has come this far. An override
stands in place of all modes, so it says the others again. From NONE no later override leads elsewhere, and after
STREAMED an answer that is then asked for as a whole has lost its content-length."""

_SHARED = frozenset(map(id, [*UNCHANGED.values(), EMPTIED, *HOLDING.values()]))


def passing_on(headers: HeaderMutation, response_body: int) -> ProcessingResponse:
    """The answer to the headers of a request whose body passes unread; the response is to come, its body in the mode
    *response_body*."""
    response = proceed(Kind.REQUEST_HEADERS, headers)
    mode = response.mode_override
    mode.request_body_mode = ProcessingMode.NONE
    mode.response_header_mode = mode.response_trailer_mode = ProcessingMode.SEND
    mode.response_body_mode = response_body  # type: ignore[assignment]
    mode.request_trailer_mode = ProcessingMode.SKIP
    return response


def piece(body: bytes) -> ProcessingResponse:
    """The answer to a piece of a streamed body: *body* in its place."""
    if not body:
        return EMPTIED
    response = ProcessingResponse()
    response.response_body.response.body_mutation.body = body
    return response


def override_mode(response: ProcessingResponse, body_mode: ProcessingMode.BodySendMode) -> None:
    """Ask for the response's body in *body_mode*. Without its trailers, the end of some bodies would never be seen."""
    response.mode_override.response_body_mode = body_mode
    response.mode_override.response_trailer_mode = ProcessingMode.SEND


def let_by(kind: Kind, headers: HeaderMutation | None, *, seen: bool) -> ProcessingResponse:
    """The answer to a request's headers or body that is none of ours: it goes on as it came, its body unread. *seen*:
    the response's headers are asked for all the same."""
    response = proceed(kind, headers, clear_route_cache=headers is not None)
    if kind is Kind.REQUEST_HEADERS:
        mode = response.mode_override
        mode.request_body_mode = mode.response_body_mode = ProcessingMode.NONE
        mode.response_header_mode = ProcessingMode.SEND if seen else ProcessingMode.SKIP
        mode.request_trailer_mode = mode.response_trailer_mode = ProcessingMode.SKIP
    return response


def immediate(status: int, headers: Headers, body: bytes, details: str) -> ProcessingResponse:
    """An answer of our own in the upstream's stead. *details* becomes ``response.code_details``."""
    response = ProcessingResponse()
    answer = response.immediate_response
    answer.status.code = status  # type: ignore[assignment]
    for name, value in headers:
        set_header(answer.headers, name, value)
    answer.body = body
    answer.details = details
    return response


def with_metadata(
    response: ProcessingResponse, values: Mapping[str, Any], namespace: str = NAMESPACE
) -> ProcessingResponse:
    """*response*, or a copy if it is a shared one, that also sets *values* (text, numbers, truth) in *namespace*, by
    default our own."""
    if id(response) in _SHARED:
        copied = ProcessingResponse()
        copied.CopyFrom(response)
        response = copied
    response.dynamic_metadata.fields[namespace].struct_value.MergeFromString(written.struct(values))
    return response
