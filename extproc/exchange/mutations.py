"""Answers to Envoy: header mutations as the difference between what came and what shall go on, bodies, modes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..envoy_api.base_pb2 import HeaderMap, HeaderValueOption
from ..envoy_api.external_processor_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingResponse,
    TrailersResponse,
)
from ..envoy_api.processing_mode_pb2 import ProcessingMode

Headers = list[tuple[str, str]]

OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
# HTTP header values are bytes; latin-1 keeps each of them, whatever they mean.
_CODEC = "latin-1"

# An override replaces the whole mode: without trailers, an answer that ends in them would never be seen to end.
BUFFERED = ProcessingMode(
    response_header_mode=ProcessingMode.SEND,
    response_body_mode=ProcessingMode.BUFFERED,
    response_trailer_mode=ProcessingMode.SEND,
)
STREAMED = ProcessingMode(
    response_header_mode=ProcessingMode.SEND,
    response_body_mode=ProcessingMode.STREAMED,
    response_trailer_mode=ProcessingMode.SEND,
)
NO_BODY = ProcessingMode(response_header_mode=ProcessingMode.SEND, response_body_mode=ProcessingMode.NONE)


def read_headers(headers: HeaderMap) -> tuple[dict[str, str], Headers]:
    """Pseudo headers by name, and the others as pairs in their order."""
    pseudo: dict[str, str] = {}
    others: Headers = []
    for header in headers.headers:
        name = header.key
        value = header.raw_value.decode(_CODEC) if header.raw_value else header.value
        if name.startswith(":"):
            pseudo[name] = value
        else:
            others.append((name, value))
    return pseudo, others


def header_mutation(
    came: Headers,
    wanted: Headers,
    *,
    pseudo: Mapping[str, str] | None = None,
    length: int | None = None,
    keep: frozenset[str] = frozenset(),
) -> HeaderMutation:
    """What turns the headers that *came* into those *wanted*: names that are not wanted are removed, values that differ
    are set. *length* becomes the content-length; ``None`` removes it. *keep*: names to leave alone."""
    before, after = _grouped(came), _grouped(wanted)
    if length is not None:
        after["content-length"] = [str(length)]
    mutation = HeaderMutation()
    for name, value in (pseudo or {}).items():
        _set(mutation, name, [value])
    for name, values in after.items():
        if before.get(name) != values:
            _set(mutation, name, values)
    mutation.remove_headers.extend(name for name in before if name not in after and name not in keep)
    return mutation


def _grouped(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault(name, []).append(value)
    return grouped


def _set(mutation: HeaderMutation, name: str, values: list[str]) -> None:
    for n, value in enumerate(values):
        option = mutation.set_headers.add(append_action=APPEND if n else OVERWRITE)
        option.header.key = name
        option.header.raw_value = value.encode(_CODEC, "replace")


def request_headers(mutation: HeaderMutation | None = None) -> ProcessingResponse:
    return ProcessingResponse(request_headers=HeadersResponse(response=CommonResponse(header_mutation=mutation)))


def request_body(
    mutation: HeaderMutation, body: bytes | None, *, clear_route_cache: bool = False
) -> ProcessingResponse:
    """*body* is ``None`` to leave the bytes as they came."""
    common = CommonResponse(header_mutation=mutation, clear_route_cache=clear_route_cache)
    if body is not None:
        common.body_mutation.body = body
    return ProcessingResponse(request_body=BodyResponse(response=common))


def response_headers(
    mutation: HeaderMutation | None = None, mode: ProcessingMode | None = None
) -> ProcessingResponse:
    common = CommonResponse(header_mutation=mutation)
    return ProcessingResponse(response_headers=HeadersResponse(response=common), mode_override=mode)


def replaced_response(mutation: HeaderMutation, body: bytes) -> ProcessingResponse:
    """At a response's headers: these headers and this body instead, whatever body follows."""
    common = CommonResponse(
        status=CommonResponse.CONTINUE_AND_REPLACE, header_mutation=mutation, body_mutation=BodyMutation(body=body)
    )
    return ProcessingResponse(response_headers=HeadersResponse(response=common))


def response_body(body: bytes | None, mutation: HeaderMutation | None = None) -> ProcessingResponse:
    """*body* is ``None`` to leave the bytes as they came; empty to hold them back."""
    common = CommonResponse(header_mutation=mutation)
    if body is not None:
        common.body_mutation.body = body
    return ProcessingResponse(response_body=BodyResponse(response=common))


def request_trailers() -> ProcessingResponse:
    return ProcessingResponse(request_trailers=TrailersResponse())


def response_trailers() -> ProcessingResponse:
    return ProcessingResponse(response_trailers=TrailersResponse())


def immediate(status: int, headers: Headers, body: bytes, details: str) -> ProcessingResponse:
    """An answer of our own. *details* is what Envoy's log calls it (``response.code_details``)."""
    answer = ImmediateResponse(body=body, details=details)
    # An enum of Envoy's that lacks some statuses (529): its number goes out all the same.
    answer.status.code = status  # type: ignore[assignment]
    for name, value in headers:
        _set(answer.headers, name, [value])
    return ProcessingResponse(immediate_response=answer)
