"""Bodies as people read them: what was read can be written again."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing import eventstream
from extproc.telemetry.readable import ARRAY, AWS, OPEN_ARRAY, events, read, written


def frame(name: str, payload: bytes, header: str = ":event-type", message: str = "event") -> bytes:
    headers = {header: name, ":content-type": "application/json", ":message-type": message}
    return eventstream.encode(eventstream.encode_headers(headers), payload)


def test_server_sent_events_are_read_as_they_are() -> None:
    data = b"event: a\ndata: 1\r\n\r\ndata: 2\n\ndata: 3"
    text, ends, framing = read(data)
    assert (text.encode(), ends, framing) == (data, [20, 29], "")
    assert events(text) == ["event: a\ndata: 1", "data: 2", "data: 3"] and events("data: 1\n\n") == ["data: 1"]
    assert events("") == []
    assert written(text) == data


def test_the_event_streams_of_aws_are_read_as_events_and_written_again() -> None:
    frames = [
        frame("messageStart", b'{"role":"assistant"}'),
        frame("throttlingException", b'{"message":"slow\\ndown"}', ":exception-type", "exception"),
        frame("contentBlockDelta", b'{\n"a": 1}'),
    ]
    text, ends, framing = read(b"".join(frames))
    assert events(text)[0] == 'event: messageStart\ndata: {"role":"assistant"}'
    assert events(text)[1].startswith("exception: throttlingException")
    assert ends == [len(frames[0]), len(frames[0] + frames[1]), len(b"".join(frames))]
    assert framing == AWS and written(text, framing) == b"".join(frames)


def test_what_invoke_models_streams_hold_in_base64_is_shown_so_that_it_can_be_redacted() -> None:
    inner = b'{"type":"content_block_delta"}'
    data = frame("chunk", json.dumps({"bytes": base64.b64encode(inner).decode()}, separators=(",", ":")).encode())
    text, _, framing = read(data)
    assert text == f"event: chunk\ndata: {inner.decode()}\n\n" and written(text, framing) == data


def test_a_stream_that_is_one_array_is_read_as_events_and_written_again() -> None:
    first, second = b'[{\n  "text": "a]\\"}",\n  "n": 1.50\n}', b"\n,\r\n{}"
    text, ends, framing = read(first + second + b"\n]")
    assert text == 'data: {"text":"a]\\"}","n":1.50}\n\ndata: {}\n\n'
    assert (ends, framing) == ([len(first), len(first + second)], ARRAY)
    assert written(text, framing) == b'[{"text":"a]\\"}","n":1.50},\n{}]'
    assert read(first + second + b"\n]", streamed=False) == ((first + second).decode() + "\n]", [], "")


def test_of_an_array_that_breaks_off_what_came_is_there() -> None:
    text, ends, framing = read(b'[{"a": 1}\n,\n{"b":\n\n "c')
    assert (text, ends, framing) == ('data: {"a":1}\n\ndata: {"b":   "c', [9], OPEN_ARRAY)
    assert written(text, framing) == b'[{"a":1},\n{"b":   "c'
    assert read(b"[1, 2]").framing == read(b"[").framing == ""


@pytest.mark.parametrize("data", [b"\0", b"\0" * 40, frame("a", b"{}")[:-1], b"\0\0\0\x10" + b"\xff" * 12])
def test_what_is_cut_or_broken_is_text_as_anything_else(data: bytes) -> None:
    text, ends, framing = read(data)
    assert (ends, framing) == ([], "") and text == data.decode("utf-8", "replace")


def test_of_a_stream_that_is_cut_the_whole_events_are_read() -> None:
    whole = frame("a", b"{}")
    assert read(whole + whole[:9]).ends == [len(whole)]


@given(st.binary(max_size=200) | st.text('[]{}:,"\\a1\r\n ', max_size=40).map(lambda text: b"[" + text.encode()))
def test_anything_can_be_read(data: bytes) -> None:
    text, ends, framing = read(data)
    assert len(ends) <= len(events(text)) or not framing
    assert all(0 < end <= len(data) for end in ends)
    written(text, framing)
