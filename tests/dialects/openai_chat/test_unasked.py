"""Counts that the client did not ask for: asked for upstream, not shown to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.base import top_level
from extproc.dialects.openai_chat.unasked import WithoutUsage, asking_for_usage

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
EXTRA = {"id": "c", "choices": [], "usage": USAGE}


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_obfuscation": False}},
         {"include_obfuscation": False, "include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": False}}, None),
        ({"stream": True, "stream_options": {"include_usage": True}}, None),
        ({"stream": True, "stream_options": {"include_usage": None}}, None),
        ({"stream": True, "stream_options": "x"}, None),
        ({"stream": False}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_is_asked_upstream(body: dict[str, Any], options: Any) -> None:
    members = top_level(json.dumps({"model": "m", "x": 1.0, **body}).encode())
    asked = asking_for_usage(members)
    assert (asked or {}).get("stream_options") == options
    if asked is not None:
        assert bytes(asked["x"]) == b"1.0" and list(asked)[:2] == ["model", "x"]


def event(value: Any, end: bytes = b"\n\n") -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"data: " + data + end


KEPT = [
    b": ping\n\n",
    event({"id": "c", "choices": [], "prompt_filter_results": [], "usage": None}),
    event({"id": "c", "choices": [{"index": 0, "delta": {"content": '"choices":[]'}}], "usage": None}),
    event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}),
    event({"error": {"message": "x"}, "choices": []}),
    event(b'{"choices":[], broken'),
    event(b"[DONE]"),
]


@given(st.data())
def test_the_extra_chunk_goes_and_every_other_byte_stays(data: st.DataObject) -> None:
    ends = data.draw(st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]))
    stream = [kept.replace(b"\n\n", ends) for kept in data.draw(st.lists(st.sampled_from(KEPT), max_size=8))]
    at = data.draw(st.integers(0, len(stream)))
    body = b"".join([*stream[:at], event(EXTRA, ends), *stream[at:]])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    out = WithoutUsage(1 << 20)
    assert b"".join([out.feed(piece) for piece in pieces]) + out.end() == b"".join(stream)


@pytest.mark.parametrize("extra", [{"id": "c", "choices": None, "usage": USAGE}, {"id": "c", "usage": USAGE}])
def test_the_extra_chunk_of_other_servers_goes_too(extra: Any) -> None:
    for step in (1, 7, 1000):
        out, data = WithoutUsage(1 << 20), b"".join([KEPT[2], event(extra), KEPT[6]])
        told = b"".join([out.feed(data[i : i + step]) for i in range(0, len(data), step)]) + out.end()
        assert told == KEPT[2] + KEPT[6]


def test_what_comes_whole_is_not_held() -> None:
    out = WithoutUsage(1 << 20)
    for kept in KEPT:
        assert out.feed(kept) == kept
    assert out.feed(event(EXTRA)[:-1]) == b"" and out.end() == b"", "nor shown where the end was cut off"
    assert out.feed(KEPT[2][:9]) == b"" and out.end() == KEPT[2][:9]


def test_no_more_than_one_event_is_held() -> None:
    out = WithoutUsage(100)
    assert out.feed(b"data: " + b"x" * 50) == b""
    assert out.feed(b"x" * 100) == b"data: " + b"x" * 150
