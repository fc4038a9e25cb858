"""What is written by hand against protobuf."""

from __future__ import annotations

import pytest

from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import CommonResponse, ProcessingResponse
from extproc.exchange.mutations import NAMESPACE, immediate, proceed, with_metadata
from extproc.exchange.outgoing import (
    BUFFERED,
    LONG,
    NONE,
    SEND,
    SKIP,
    STREAMED,
    Mutation,
    Outgoing,
    processing_mode,
    whole,
)
from extproc.exchange.phases import Kind

SIZES = [0, 1, 100, 110, 113, 117, 120, 125, 127, 128, 16_360, 16_383, 16_384, 3_000_000]
"""Where the length of a body, or of what it is in, grows by a byte, and others."""


@pytest.mark.parametrize("kind", [each for each in Kind if not each.value.endswith("_trailers")])
def test_it_writes_what_protobuf_writes(kind: Kind) -> None:
    for size in SIZES:
        for replace, clear in ((False, False), (True, False), (False, True), (True, True)):
            answer = ProcessingResponse()
            common = getattr(answer, kind.value).response
            common.header_mutation.remove_headers.extend(["a", "b"])
            common.body_mutation.body = bytes(size)
            common.clear_route_cache = clear
            common.status = CommonResponse.CONTINUE_AND_REPLACE if replace else CommonResponse.CONTINUE
            answer.dynamic_metadata.fields[NAMESPACE].struct_value["a"] = "x"
            made = proceed(kind, Mutation(["a", "b"]), bytes(size), replace=replace, clear_route_cache=clear)
            assert with_metadata(made, {"a": "x"}).encoded() == answer.SerializeToString()


@pytest.mark.parametrize("kind", [each for each in Kind if not each.value.endswith("_trailers")])
def test_a_long_body_is_left_where_it_is(kind: Kind) -> None:
    for size in (LONG - 1, LONG, 3_000_000):
        body = bytes(size)
        made = with_metadata(proceed(kind, Mutation(["a"]), body, clear_route_cache=True), {"a": "x"})
        parts = made.parts()
        assert isinstance(parts, tuple) == (size >= LONG)
        assert not isinstance(parts, tuple) or (parts[1] is body and len(parts[0]) + len(parts[2]) < 100)
        assert whole(parts) == made.encoded()


def test_modes_are_those_of_envoy() -> None:
    assert (NONE, STREAMED, BUFFERED) == (ProcessingMode.NONE, ProcessingMode.STREAMED, ProcessingMode.BUFFERED)
    assert (SEND, SKIP) == (ProcessingMode.SEND, ProcessingMode.SKIP)


@pytest.mark.parametrize("kind", Kind)
def test_what_changes_nothing(kind: Kind) -> None:
    answer = ProcessingResponse()
    of = getattr(answer, kind.value)
    of.SetInParent()
    if not kind.value.endswith("_trailers"):
        of.response.SetInParent()
    assert proceed(kind).encoded() == answer.SerializeToString()


def test_an_answer_of_our_own() -> None:
    for size in SIZES:
        answer = ProcessingResponse()
        now = answer.immediate_response
        now.status.code = 529  # type: ignore[assignment]
        now.headers.SetInParent()
        now.body = bytes(size)
        now.details = "extproc_x"
        assert immediate(529, [], bytes(size), "extproc_x").encoded() == answer.SerializeToString()


def test_a_mode_for_each_message() -> None:
    made = ProcessingMode.FromString(processing_mode(SEND, SKIP, STREAMED, BUFFERED, SEND, SKIP))
    assert (made.request_header_mode, made.response_header_mode) == (SEND, SKIP)
    assert (made.request_body_mode, made.response_body_mode) == (STREAMED, BUFFERED)
    assert (made.request_trailer_mode, made.response_trailer_mode) == (SEND, SKIP)


@pytest.mark.parametrize("milliseconds", [1, 999, 1000, 61_234])
def test_patience_is_a_duration(milliseconds: int) -> None:
    answer = Outgoing(None)
    answer.patience_ms = milliseconds
    assert ProcessingResponse.FromString(answer.encoded()).override_message_timeout.ToMilliseconds() == milliseconds
    assert ProcessingResponse.FromString(answer.encoded()).WhichOneof("response") is None
