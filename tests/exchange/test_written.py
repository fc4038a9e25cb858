"""What is written by hand against protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy_api.envoy.config.core.v3.base_pb2 import HeaderValueOption
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import HeaderMutation, ProcessingResponse
from extproc.exchange import written
from extproc.exchange.mutations import NAMESPACE, proceed, with_metadata
from extproc.exchange.phases import Kind

SIZES = [0, 1, 100, 110, 113, 117, 120, 125, 127, 128, 16_370, 16_383, 16_384, 3_000_000]
"""Where a length grows by a byte, and those around it."""
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
VALUES = st.text() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)


def header(name: str, value: bytes) -> HeaderMutation:
    made = HeaderMutation()
    option = made.set_headers.add()
    option.header.key, option.header.raw_value = name, value
    option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return made


def struct(values: dict[str, Any]) -> Struct:
    made = Struct()
    for name, value in values.items():
        if isinstance(value, str):
            made.fields[name].string_value = value.encode("utf-8", "replace").decode()
        elif isinstance(value, bool):
            made.fields[name].bool_value = value
        else:
            assert isinstance(value, (int, float))
            made.fields[name].number_value = value
    return made


def test_a_header_of_any_length() -> None:
    for size in SIZES:
        assert HeaderMutation.FromString(written.header("x" * size, b"v" * 3)) == header("x" * size, b"v" * 3)
        assert HeaderMutation.FromString(written.header("x", b"v" * size)) == header("x", b"v" * size)


@given(NAMES, st.binary(max_size=300))
def test_any_header(name: str, value: bytes) -> None:
    assert HeaderMutation.FromString(written.header(name, value)) == header(name, value)


def test_a_text_of_any_length() -> None:
    for size in SIZES:
        values = {"a": "x" * size, "b" * size: "y", "c": "\ud800"}
        assert Struct.FromString(written.struct(values)) == struct(values)


@given(st.dictionaries(NAMES, VALUES, max_size=20))
def test_any_values(values: dict[str, Any]) -> None:
    assert Struct.FromString(written.struct(values)) == struct(values)


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_is_said_later_is_laid_over_what_was_said(first: dict[str, Any], then: dict[str, Any]) -> None:
    made = with_metadata(with_metadata(proceed(Kind.RESPONSE_BODY), first), {"other": 1}, "costs")
    answer = ProcessingResponse.FromString(with_metadata(made, then).encoded())
    assert answer.dynamic_metadata.fields[NAMESPACE].struct_value == struct({**first, **then})
    assert answer.dynamic_metadata.fields["costs"].struct_value == struct({"other": 1})
