from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.sse import COMMENT, EventTooLarge, ServerSentEvent, SseDecoder, encode, encode_comment


def decoded(data: bytes, cuts: list[int] | None = None, max_event_bytes: int = 1 << 20) -> list[ServerSentEvent]:
    decoder = SseDecoder(max_event_bytes)
    edges = [0, *(cuts or []), len(data)]
    events: list[ServerSentEvent] = []
    for a, b in pairwise(edges):
        events += decoder.feed(data[a:b])
    return events + decoder.end()


def e(data: bytes, event: bytes = b"") -> ServerSentEvent:
    return ServerSentEvent(event, data)


STREAMS = [
    (b"data: a\n\n", [e(b"a")]),
    (b"data:a\n\n", [e(b"a")]),
    (b"data:  a\n\n", [e(b" a")]),
    (b"data: a: b\n\n", [e(b"a: b")]),
    (b"event: x\ndata: a\n\n", [e(b"a", b"x")]),
    (b"event:  x: y\ndata:  a\n\n", [e(b" a", b" x: y")]),
    (b"event: x\ndata:a\n\n", [e(b"a", b"x")]),
    (b"event: x\ndata: a\ndata: b\n\n", [e(b"a\nb", b"x")]),
    (b"event: x\ndate: a\n\n", []),
    (b"event: data: a\n\n", []),
    (b'{"a": 1}\n\n\n', [e(b'{"a": 1}')]),
    (b"data: a\nevent: x\n\n", [e(b"a", b"x")]),
    (b"data: a\ndata: b\n\n", [e(b"a\nb")]),
    (b"data\n\n", [e(b"")]),
    (b"data: a\n\n\n\ndata: b\n\n", [e(b"a"), e(b"b")]),
    (b"data: a\n\n\ndata: b\n\n", [e(b"a"), e(b"b")]),
    (b'error: {"a": 1}\n\n', [e(b'{"a": 1}', b"error")]),
    (b'data: {"a": 1}\ndata: {"b": 2}\n\n', [e(b'{"a": 1}'), e(b'{"b": 2}')]),  # no blank line between them
    (b'data: {"a": 1}\ndata: [DONE]\n\n', [e(b'{"a": 1}'), e(b"[DONE]")]),
    (b'data: {"a":\ndata: 1}\n\n', [e(b'{"a":\n1}')]),
    (b"id: 7\nretry: 3\ndata: a\nfoo: bar\n\n", [e(b"a")]),
    (b"event: x\n\ndata: a\n\n", [e(b"a")]),
    (b": ping\n\ndata: a\n\n", [COMMENT, e(b"a")]),
    (b": ping\ndata: a\n\n", [e(b"a")]),
    (b"\xef\xbb\xbfdata: a\n\ndata: \xef\xbb\xbf\n\n", [e(b"a"), e(b"\xef\xbb\xbf")]),
    (b"data: a\n\ndata: left", [e(b"a"), e(b"left")]),
    (b"data: a\n\ndata: left\n", [e(b"a"), e(b"left")]),
    ("data: 東京 😀\n\n".encode(), [e("東京 😀".encode())]),
    (b"", []),
    (b"\n\n\n", []),
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("data", "expected"), STREAMS)
@pytest.mark.rows("A8", "B12", "B13")
def test_every_cut(data: bytes, expected: list[ServerSentEvent], end: bytes) -> None:
    data = data.replace(b"\n", end)
    assert decoded(data) == expected
    assert decoded(data, list(range(1, len(data)))) == expected
    for cut in range(len(data)):
        assert decoded(data, [cut]) == expected


def test_mixed_line_ends() -> None:
    data = b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\r\n\r"
    for cut in range(len(data)):
        assert decoded(data, [cut]) == [e(b"a"), e(b"b"), e(b"c"), e(b"d")]


def test_an_event_comes_with_the_byte_that_ends_it() -> None:
    for end in (b"\n\n", b"\r\r"):
        decoder = SseDecoder()
        assert decoder.feed(b"data: a" + end[:1]) == []
        assert decoder.feed(end[1:]) == [e(b"a")]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_any_cuts(data: bytes, cuts: list[int]) -> None:
    assert decoded(data, sorted(min(cut, len(data)) for cut in cuts)) == decoded(data)


def limited(data: bytes, step: int) -> tuple[list[ServerSentEvent], bool]:
    decoder = SseDecoder(20)
    events: list[ServerSentEvent] = []
    try:
        for i in range(0, len(data), step):
            events += decoder.feed(data[i : i + step])
    except EventTooLarge as error:
        return events + error.before, True
    return events, False


@pytest.mark.parametrize("size", [10, 13, 14, 15, 30, 100])
def test_the_bound_is_on_the_event_however_it_is_cut(size: int) -> None:
    data = b"data: a\n\n" + b"data: " + b"x" * size + b"\n\n" + b"data: b\n\n"
    expected = limited(data, 1)
    assert expected[1] is (size >= 14)
    assert expected[0][0] == e(b"a")
    for step in range(2, len(data) + 1):
        assert limited(data, step) == expected


@given(st.text(), st.sampled_from([b"", b"x"]))
@pytest.mark.rows("B14")
def test_there_and_back(text: str, event: bytes) -> None:
    data = text.encode("utf-8", "replace").replace(b"\r", b"")
    assert decoded(encode(data, event)) == [e(data, event)]


@pytest.mark.rows("B14")
@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (b"{}", b"data: {}\n\n"),
        (b"", b"data: \n\n"),
        (b"a\nb", b"data: a\ndata: b\n\n"),
        (b"a\n", b"data: a\ndata: \n\n"),
    ],
)
def test_a_field_for_each_line_and_none_more(data: bytes, wire: bytes) -> None:
    assert encode(data) == wire
    assert encode(data, b"x") == b"event: x\n" + wire


def test_a_comment_there_and_back() -> None:
    assert decoded(encode_comment()) == [COMMENT]
