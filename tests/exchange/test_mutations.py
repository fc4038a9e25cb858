from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import CommonResponse, ProcessingResponse
from extproc.exchange.mutations import (
    EMPTIED,
    NAMESPACE,
    UNCHANGED,
    diff,
    immediate,
    override_mode,
    piece,
    proceed,
    set_after_all,
    with_metadata,
)
from extproc.exchange.phases import Kind

from .conversation import mutated

PAIRS = st.lists(st.tuples(st.sampled_from(["a", "b", "x-c", "d"]), st.text("abc ", min_size=1)), max_size=6)


@given(came=PAIRS, wanted=PAIRS)
def test_diff_turns_what_came_into_what_is_wanted(came: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    joined: dict[str, str] = {}
    for name, value in wanted:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    mutation = diff(came, wanted)
    result = mutated(came, mutation)
    grouped: dict[str, str] = {}
    for name, value in result:
        grouped[name] = f"{grouped[name]},{value}" if name in grouped else value
    assert grouped == joined


def test_diff_says_nothing_about_what_stays() -> None:
    mutation = diff([("a", "1"), ("b", "2"), ("c", "3")], [("a", "1"), ("b", "9"), ("d", "4")])
    assert [option.header.key for option in mutation.set_headers] == ["b", "d"]
    assert list(mutation.remove_headers) == ["c"]


@pytest.mark.parametrize("name", ["b", "c"])
def test_what_is_set_after_all_is_not_removed(name: str) -> None:
    mutation = diff([("a", "1"), ("b", "2")], [("c", "3")])
    set_after_all(mutation, name, "9")
    assert dict(mutated([("a", "1"), ("b", "2")], mutation))[name] == "9"
    assert sorted(mutation.remove_headers) == sorted({"a", "b"} - {name})


@pytest.mark.parametrize(
    ("value", "sent"),
    [("plain", b"plain"), ("a\r\nb: c", b"a  b: c"), ("ü", b"\xfc"), ("漢", "漢".encode()), ("a\n", b"a")],
)
def test_no_value_breaks_a_header(value: str, sent: bytes) -> None:
    assert diff([], [("x", value)]).set_headers[0].header.raw_value == sent


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_is_answered_in_kind(kind: Kind) -> None:
    assert proceed(kind).WhichOneof("response") == UNCHANGED[kind].WhichOneof("response") == kind.value
    assert UNCHANGED[kind] == proceed(kind), "the shared answer has been written to"


def test_a_piece_of_which_nothing_goes_on_is_emptied_and_not_left() -> None:
    assert piece(b"") is EMPTIED
    assert EMPTIED.response_body.response.body_mutation.WhichOneof("mutation") == "body"
    assert piece(b"x").response_body.response.body_mutation.body == b"x"
    assert not UNCHANGED[Kind.RESPONSE_BODY].response_body.response.HasField("body_mutation")


def test_a_replaced_message() -> None:
    common = proceed(Kind.RESPONSE_HEADERS, None, b"{}", replace=True).response_headers.response
    assert common.status == CommonResponse.CONTINUE_AND_REPLACE
    assert common.body_mutation.body == b"{}"


def test_an_override_asks_for_trailers_too() -> None:
    answer = proceed(Kind.RESPONSE_HEADERS)
    override_mode(answer, ProcessingMode.BUFFERED)
    assert answer.mode_override.response_body_mode == ProcessingMode.BUFFERED
    assert answer.mode_override.response_trailer_mode == ProcessingMode.SEND


def test_an_immediate_answer_may_have_a_status_without_a_name() -> None:
    answer = ProcessingResponse.FromString(immediate(529, [("x", "y")], b"{}", "extproc_x").SerializeToString())
    assert answer.immediate_response.status.code == 529
    assert answer.immediate_response.headers.set_headers[0].header.key == "x"
    assert answer.immediate_response.details == "extproc_x"


@pytest.mark.parametrize("answer", [EMPTIED, *UNCHANGED.values()])
def test_metadata_never_lands_in_a_shared_answer(answer: ProcessingResponse) -> None:
    made = with_metadata(answer, {"a": "x", "b": 3, "c": True, "d": "\ud800"})
    assert made is not answer and not answer.HasField("dynamic_metadata")
    fields = made.dynamic_metadata.fields[NAMESPACE].struct_value.fields
    assert (fields["a"].string_value, fields["b"].number_value, fields["c"].bool_value) == ("x", 3, True)
    assert fields["d"].string_value == "?"
    assert made.WhichOneof("response") == answer.WhichOneof("response")
