from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import (
    HeaderMutation,
    ProcessingResponse,
)
from extproc.exchange.mutations import (
    NAMESPACE,
    diff,
    holding,
    immediate,
    let_by,
    override_mode,
    passing_on,
    proceed,
    set_after_all,
    with_metadata,
)
from extproc.exchange.outgoing import BUFFERED, NONE, STREAMED, Mutation, Outgoing
from extproc.exchange.phases import Kind

from .conversation import mutated

PAIRS = st.lists(st.tuples(st.sampled_from(["a", "b", "x-c", "d"]), st.text("abc ", min_size=1)), max_size=6)


def said(answer: Outgoing) -> ProcessingResponse:
    return ProcessingResponse.FromString(answer.encoded())


def parsed(mutation: Mutation) -> HeaderMutation:
    return HeaderMutation.FromString(mutation.encoded())


@given(came=PAIRS, wanted=PAIRS)
def test_diff_turns_what_came_into_what_is_wanted(came: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    joined: dict[str, str] = {}
    for name, value in wanted:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    mutation = parsed(diff(came, wanted))
    result = mutated(came, mutation)
    grouped: dict[str, str] = {}
    for name, value in result:
        grouped[name] = f"{grouped[name]},{value}" if name in grouped else value
    assert grouped == joined


def test_diff_says_nothing_about_what_stays() -> None:
    mutation = parsed(diff([("a", "1"), ("b", "2"), ("c", "3")], [("a", "1"), ("b", "9"), ("d", "4")]))
    assert [option.header.key for option in mutation.set_headers] == ["b", "d"]
    assert list(mutation.remove_headers) == ["c"]


@pytest.mark.parametrize("name", ["b", "c"])
def test_what_is_set_after_all_is_not_removed(name: str) -> None:
    mutation = diff([("a", "1"), ("b", "2")], [("c", "3")])
    set_after_all(mutation, name, "9")
    assert dict(mutated([("a", "1"), ("b", "2")], parsed(mutation)))[name] == "9"
    assert sorted(mutation.removed) == sorted({"a", "b"} - {name})


@pytest.mark.parametrize(
    ("value", "sent"),
    [("plain", b"plain"), ("a\r\nb: c", b"a  b: c"), ("ü", b"\xfc"), ("漢", "漢".encode()), ("a\n", b"a")],
)
def test_no_value_breaks_a_header(value: str, sent: bytes) -> None:
    assert parsed(diff([], [("x", value)])).set_headers[0].header.raw_value == sent


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_is_answered_in_kind(kind: Kind) -> None:
    assert said(proceed(kind)).WhichOneof("response") == kind.value


def test_a_body_of_which_nothing_goes_on_is_emptied_and_not_left() -> None:
    emptied = said(proceed(Kind.RESPONSE_BODY, None, b"")).response_body.response
    assert emptied.body_mutation.WhichOneof("mutation") == "body"
    assert not said(proceed(Kind.RESPONSE_BODY)).response_body.response.HasField("body_mutation")


@pytest.mark.parametrize("mode", [NONE, BUFFERED])
def test_what_is_held_says_all_modes(mode: int) -> None:
    trailers = ProcessingMode.SKIP if mode == NONE else ProcessingMode.SEND
    assert said(holding(mode)).mode_override == ProcessingMode(
        response_header_mode=ProcessingMode.SEND,
        request_body_mode=ProcessingMode.BUFFERED,
        response_body_mode=mode,  # type: ignore[arg-type]
        request_trailer_mode=trailers,
        response_trailer_mode=trailers,
    )


def test_what_passes_says_all_modes() -> None:
    assert said(passing_on(Mutation(), STREAMED)).mode_override == ProcessingMode(
        response_header_mode=ProcessingMode.SEND,
        response_body_mode=ProcessingMode.STREAMED,
        request_trailer_mode=ProcessingMode.SKIP,
        response_trailer_mode=ProcessingMode.SEND,
    )
    for seen in (True, False):
        assert said(let_by(Kind.REQUEST_HEADERS, None, seen=seen)).mode_override == ProcessingMode(
            response_header_mode=ProcessingMode.SEND if seen else ProcessingMode.SKIP,
            request_trailer_mode=ProcessingMode.SKIP,
            response_trailer_mode=ProcessingMode.SKIP,
        )
    assert not said(let_by(Kind.REQUEST_BODY, None, seen=True)).HasField("mode_override")


def test_an_override_asks_for_trailers_too() -> None:
    answer = proceed(Kind.RESPONSE_HEADERS)
    override_mode(answer, BUFFERED)
    assert said(answer).mode_override == ProcessingMode(
        response_body_mode=ProcessingMode.BUFFERED, response_trailer_mode=ProcessingMode.SEND
    )


def test_an_immediate_answer_may_have_a_status_without_a_name() -> None:
    answer = said(immediate(529, [("x", "y")], b"{}", "extproc_x")).immediate_response
    assert (answer.status.code, answer.body, answer.details) == (529, b"{}", "extproc_x")
    assert answer.headers.set_headers[0].header.key == "x"


def test_metadata_of_each_kind_of_value() -> None:
    made = said(with_metadata(proceed(Kind.RESPONSE_BODY), {"a": "x", "b": 3, "c": True, "d": "\ud800"}))
    fields = made.dynamic_metadata.fields[NAMESPACE].struct_value.fields
    assert (fields["a"].string_value, fields["b"].number_value, fields["c"].bool_value) == ("x", 3, True)
    assert fields["d"].string_value == "?"
