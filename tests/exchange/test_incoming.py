"""What is read by hand against protobuf."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.exchange.incoming import FILTER, Incoming, Malformed, read, read_long
from extproc.exchange.mutations import NAMESPACE
from extproc.exchange.phases import Kind

NAMES = st.sampled_from([":path", ":status", "x-a", "x-b", "content-length"]) | st.text("abc-", min_size=1, max_size=9)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=200) | st.text("aü", min_size=1, max_size=9)), max_size=8)
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
VALUES = PLAIN | st.floats(allow_nan=False) | st.booleans() | st.none() | st.lists(st.just("x"), max_size=2)
MEMBERS = st.dictionaries(PLAIN, VALUES, max_size=5)
MODES = st.none() | st.tuples(st.integers(0, 4), st.integers(0, 4))


@st.composite
def requests(draw: st.DrawFn) -> ProcessingRequest:
    message = ProcessingRequest()
    kind = draw(st.sampled_from(Kind))
    of = getattr(message, kind.value)
    of.SetInParent()
    if kind.value.endswith("_headers"):
        for name, value in draw(HEADERS):
            header = of.headers.headers.add(key=name)
            if isinstance(value, str):
                header.value = value
            else:
                header.raw_value = value
    if kind.value.endswith("_body"):
        of.body = draw(st.binary(max_size=20_000))
    if not kind.value.endswith("_trailers"):
        of.end_of_stream = draw(st.booleans())
    for name, members in draw(st.dictionaries(st.sampled_from([FILTER, "another"]), MEMBERS)).items():
        message.attributes[name].update(members)
    for name, members in draw(st.dictionaries(st.sampled_from([NAMESPACE, "another"]), MEMBERS)).items():
        message.metadata_context.filter_metadata[name].update(members)
    if (modes := draw(MODES)) is not None:
        message.protocol_config.request_body_mode, message.protocol_config.response_body_mode = modes  # type: ignore[assignment]
    message.observability_mode = draw(st.booleans())
    return message


def headers(message: ProcessingRequest) -> list[tuple[str, str]]:
    of = getattr(message, str(message.WhichOneof("request")))
    found = of.headers.headers if hasattr(of, "headers") else []
    return [(each.key, each.raw_value.decode("latin-1") or each.value) for each in found]


def members(spaces: Any, name: str) -> dict[str, Any]:
    fields = spaces[name].fields if name in spaces else Struct().fields
    return {
        key: value.number_value if value.HasField("number_value") else value.string_value
        for key, value in fields.items()
    }


def same(found: Incoming, message: ProcessingRequest) -> None:
    kind = message.WhichOneof("request")
    assert found.kind is (None if kind is None else Kind(kind))
    came = headers(message)
    assert found.headers == [pair for pair in came if not pair[0].startswith(":")]
    assert found.pseudo == dict(pair for pair in came if pair[0].startswith(":"))
    of = getattr(message, str(kind), None)
    assert found.body == getattr(of, "body", b"")
    assert found.end_of_stream == getattr(of, "end_of_stream", False)
    assert found.attributes == members(message.attributes, FILTER)
    assert found.metadata(NAMESPACE) == members(message.metadata_context.filter_metadata, NAMESPACE)
    config = message.protocol_config
    modes = (config.request_body_mode, config.response_body_mode) if message.HasField("protocol_config") else None
    assert found.modes == modes


@given(requests())
def test_what_envoy_says_is_read(message: ProcessingRequest) -> None:
    same(read(message.SerializeToString()), message)


@given(st.binary(max_size=40), requests(), st.data())
def test_whatever_comes_is_read_or_malformed(noise: bytes, message: ProcessingRequest, data: st.DataObject) -> None:
    whole = message.SerializeToString()
    begun = whole[: data.draw(st.integers(0, len(whole)))]
    for came in (noise, begun, begun + noise):
        try:
            read(came).metadata(NAMESPACE)
        except Malformed:
            assert came != whole


def test_headers_are_read_from_either_member_and_pseudo_headers_apart() -> None:
    message = ProcessingRequest()
    came = message.request_headers.headers.headers
    came.add(key=":path", raw_value=b"/v1")
    came.add(key="x-a", raw_value="ü".encode("latin-1"))
    came.add(key="x-a", value="old envoy ü")
    found = read(message.SerializeToString())
    assert (found.pseudo, found.headers) == ({":path": "/v1"}, [("x-a", "ü"), ("x-a", "old envoy ü")])


def test_what_is_not_known_is_passed_over() -> None:
    """A later Envoy may say more, in any form."""
    more = bytes([15 << 3, 1, *b"\x7a\x02ab", 13 << 3 | 1, *bytes(8), 13 << 3 | 5, *bytes(4)])
    body = bytes([4 << 3 | 2, 3 + len(more), 1 << 3 | 2, 1, *b"x"]) + more
    found = read(more + body + more)
    assert (found.kind, found.body) == (Kind.REQUEST_BODY, b"x")


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x22", b"\x22\x05\x0a", b"\x22\x02\x0a\x09", b"\x23", b"\x12\x07\x0a\x05\x0a\x03\x0a\x01\xff"],
    ids=["cut number", "no length", "too short", "longer than what it is in", "of no form", "a name that is no text"],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """*data* in parts."""
    at = sorted({place % len(data) for place in places} | {0, len(data)}) if data else [0, 0]
    return [data[start:end] for start, end in itertools.pairwise(at)]


def members_of(message: Incoming) -> list[object]:
    plain = [message.kind, message.pseudo, message.headers, message.body, message.end_of_stream, message.attributes]
    return [*plain, message.modes, message.metadata(NAMESPACE), message.metadata("another")]


PLACES = st.lists(st.integers(0, 20_000) | st.integers(-300, -1) | st.integers(0, 30), max_size=8)


@given(requests(), PLACES)
def test_a_message_is_the_same_in_whatever_parts_it_comes(message: ProcessingRequest, places: list[int]) -> None:
    data = message.SerializeToString()
    assert members_of(read_long(cut(data, places))) == members_of(read(data))


@given(
    st.binary(max_size=90), st.sampled_from([b"", b"\x22", b"\x2a", b"\x22\x80\x01\x0a", b"\x22\x05\x0a\x50"]), PLACES
)  # fmt: skip
def test_so_is_what_is_no_message(data: bytes, first: bytes, places: list[int]) -> None:
    data = first + data
    try:
        wanted = members_of(read(data))
    except Malformed:
        with pytest.raises(Malformed):
            read_long(cut(data, places))
    else:
        assert members_of(read_long(cut(data, places))) == wanted


def test_of_a_long_body_nothing_is_put_together_but_itself() -> None:
    message = ProcessingRequest()
    message.request_body.body, message.request_body.end_of_stream = b"x" * 4_000_000, True
    parts = cut(message.SerializeToString(), list(range(0, 4_000_000, 16_384)))
    tracemalloc.start()
    try:
        found = read_long(parts)
        assert (found.kind, found.body, found.end_of_stream) == (Kind.REQUEST_BODY, message.request_body.body, True)
        assert tracemalloc.get_traced_memory()[1] < 8_500_000, "the body, and the one that it was compared with"
    finally:
        tracemalloc.stop()
