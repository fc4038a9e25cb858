from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.event_bytes import WholeEvents, message, split, with_message

EVENTS = [b"data: {}\n\n", b"event: a\r\ndata: 1\r\n\r\n", b": b\r\r", b"data: c\n\r\n"]


@given(st.data())
def test_no_byte_is_lost_and_no_event_is_told_before_its_end(data: st.DataObject) -> None:
    body = b"".join(data.draw(st.lists(st.sampled_from(EVENTS), max_size=6))) + data.draw(st.sampled_from([b"", b"x"]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    events = WholeEvents(1 << 20)
    told = [events.feed(piece) for piece in pieces]
    assert all(end for each in told for _, end in split(each))
    assert b"".join(told) + events.end() == body and not events.waits


def test_what_waits_is_bounded() -> None:
    events = WholeEvents(4)
    assert events.feed(b"data") == b"" and events.waits
    assert events.feed(b":") == b"data:" and not events.waits


def test_each_event_stands_before_the_mark_of_its_end() -> None:
    assert list(split(b"".join(EVENTS) + b"rest")) == [
        (b"data: {}", b"\n\n"),
        (b"event: a\r\ndata: 1", b"\r\n\r\n"),
        (b": b", b"\r\r"),
        (b"data: c", b"\n\r\n"),
        (b"rest", b""),
    ]


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (b'event: x\ndata: {"a":\r\ndata: 1}', {"a": 1}),
        (b"data: [1]", None),
        (b"data: {", None),
        (b"data: \xff", None),
        (b"data: " + b"[" * 100_000, None),
        (b": comment", None),
    ],
)
def test_an_events_object_is_read(event: bytes, found: object) -> None:
    assert message(event) == found


def test_an_event_keeps_its_other_lines() -> None:
    assert with_message(b"event: x\r\ndata: {\r\ndata: }\r\nid: 7", b"{}") == b"event: x\nid: 7\ndata: {}"
