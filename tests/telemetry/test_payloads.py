"""What a log may show of bodies: as much as its bound allows, no secret, no member that an operator named."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.credentials.masking import mask_of
from extproc.telemetry import payloads as module
from extproc.telemetry.payloads import MARGIN_BYTES, MASK, Payloads, members_named, redacted
from extproc.telemetry.readable import events

NAMES = ("content", "arguments", "a.b", 'q"x')
MEMBERS = members_named(NAMES)
SECRET = "key-of-the-tests-1234"


def payloads(bound: int = 1000, redact: tuple[str, ...] = (), secrets: tuple[str, ...] = ()) -> Payloads:
    made = Payloads(bound, mask_of, redact)
    made.hide(secrets)
    return made


@pytest.mark.rows("D20")
def test_both_sides_of_an_exchange() -> None:
    made = payloads()
    made.asked(b'{"model": "m", "messages": [1]}')
    made.sent(b'{"model": "n"}')
    for piece in (b"data: {", b"}\n\n"):
        made.came(piece)
        made.got(b"event: x\n" + piece)
    made.text("1+1 ")
    made.text("is 2")
    assert made.shown() == {
        "client": {
            "request": {"bytes": 31, "body": {"model": "m", "messages": [1]}},
            "response": {"bytes": 28, "text": "event: x\ndata: {event: x\n}\n\n"},
        },
        "upstream": {
            "request": {"bytes": 14, "body": {"model": "n"}},
            "response": {"bytes": 10, "text": "data: {}\n\n"},
        },
        "llm_request": {"messages": [1]},
        "llm_response_text": {"content": "1+1 is 2"},
    }


def test_what_went_on_unchanged_stands_there_once() -> None:
    made = payloads()
    for note in (made.asked, made.sent, made.came, made.got):
        note(b"[1]")
    shown = made.shown()
    assert shown["upstream"] == {} and shown["client"] == {
        "request": {"bytes": 3, "body": [1]}, "response": {"bytes": 3, "body": [1]},
    }  # fmt: skip


def test_a_body_beyond_the_bound_is_cut_and_says_so() -> None:
    made = payloads(10)
    for _ in range(5000):
        made.got(b"abc")
    assert made.shown()["client"]["response"] == {"bytes": 15000, "cut": True, "text": "abcabcabca"}
    assert made.size == 10 + MARGIN_BYTES
    made.text("x" * 7)
    made.text("y" * 7)
    assert made.shown()["llm_response_text"] == {"content": "xxxxxxxyyy"}


@pytest.mark.parametrize("passes", [False, True])
def test_a_compressed_answer_is_not_shown(passes: bool) -> None:
    made = payloads()
    made.encoded(passes=passes)
    made.came(b"\x1f\x8b")
    made.got(b"\x1f\x8b!")
    shown = made.shown()
    assert ("omitted" in shown["client"]["response"]) is passes and shown["client"]["response"]["bytes"] == 3
    assert shown["upstream"]["response"] == {"bytes": 2, "omitted": "it is compressed"}


def test_bytes_that_are_no_text_and_texts_that_are_no_json() -> None:
    made = payloads()
    made.asked(b'{"a": "\\ud800"}')
    made.sent(b"\xff{")
    made.came(b"[" * 900)
    shown = made.shown()
    assert shown["client"]["request"] == {"bytes": 15, "text": '{"a": "\\ud800"}'}
    assert shown["upstream"]["request"] == {"bytes": 2, "text": "\ufffd{"}
    assert shown["upstream"]["response"]["text"] == "[" * 900
    json.dumps(shown)


@pytest.mark.rows("D20")
@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_no_secret_is_shown_wherever_the_bound_cuts_it(cut: int) -> None:
    text = json.dumps({"pad": "x" * 20, "said": f"my key is {SECRET}", "more": SECRET}).encode()
    made = payloads(cut, secrets=(SECRET,))
    for note in (made.asked, made.sent, made.came, made.got):
        note(text)
    made.text(SECRET)
    shown = json.dumps(made.shown())
    assert not any(SECRET[:n] in shown for n in range(6, len(SECRET)))
    assert SECRET not in repr(made)


@pytest.mark.rows("D20")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"content": "a b", "x": 1}', '{"content": "***", "x": 1}'),
        ('{"content" : [1, {"a": "]"}], "x": 1}', '{"content" : "***", "x": 1}'),
        ('{"content":{"a":{}},"content":null}', '{"content":"***","content":"***"}'),
        ('{"content": 1.5}', '{"content": "***"}'),
        ('{"content": "a \\" b \\\\", "x": "content"}', '{"content": "***", "x": "content"}'),
        ('{"content": "cut o', '{"content": "***"'),
        ('{"content": [{"a": "', '{"content": "***"'),
        ('{"content":', '{"content":"***"'),
        (
            'data: {"content":"a"}\n\ndata: {"content":"b"}\n\n',
            'data: {"content":"***"}\n\ndata: {"content":"***"}\n\n',
        ),
        ('\x00"\x11 {"content":"a"} " {"content":"b"}', '\x00"\x11 {"content":"***"} " {"content":"***"}'),
        (r'{"x": "{\"content\": \"a \\\" b\", \"y\": 1}"}', r'{"x": "{\"content\": \"***\", \"y\": 1}"}'),
        (r'{"x": "{\"content\": \"cut", "content": 1}', r'{"x": "{\"content\": \"***\", "content": "***"}'),
        (r'{"x": "{\"content\": {\"a\": \"}\"}}", "y": 2}', r'{"x": "{\"content\": \"***\"}", "y": 2}'),
        ('{"a.b": 1, "aXb": 2, "q\\"x": 3}', '{"a.b": "***", "aXb": 2, "q\\"x": 3}'),
    ],
)
def test_members_that_are_named_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text, MEMBERS) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["content", "x", "y z", 'n"']) | st.text(), inner),
    max_leaves=12,
)


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: MASK if k == "content" else without(v) for k, v in value.items()}
    return [without(each) for each in value] if isinstance(value, list) else value


@given(JSON, st.integers(0, 2))
def test_whole_json_loses_just_those_members(value: Any, depth: int) -> None:
    text, expected = json.dumps(value), json.dumps(without(value))
    if '\\"content' in text:
        return
    for _ in range(depth):
        text, expected = json.dumps({"t": text}), json.dumps({"t": expected})
    assert redacted(text, members_named(("content",))) == expected


@given(st.text(alphabet='{}[]":\\,content a'), st.integers(0, 40))
def test_no_text_stops_it(text: str, cut: int) -> None:
    redacted(text[cut:], MEMBERS)
    made = payloads(cut, ("content",))
    made.asked(text.encode())
    made.shown()


def test_a_redacted_payload_shows_no_text_of_the_answer() -> None:
    made = payloads(redact=("content",))
    made.asked(b'{"messages": [{"role": "user", "content": "mine"}], "tool": "{\\"content\\": \\"mine\\"}"}')
    made.text("mine")
    made.got(b'data: {"delta": {"content": "mine"}}\n\n')
    shown = made.shown()
    assert "mine" not in json.dumps(shown)
    assert shown["llm_request"] == {"messages": [{"role": "user", "content": MASK}]}
    assert "llm_response_text" not in shown


def test_linear_in_what_is_long() -> None:
    for text in ('"' + "\\" * 60_000, '{"content":' * 6_000, '{"content": "' + '\\"' * 30_000, '"content":"' * 6_000):
        began = time.process_time()
        redacted(text, MEMBERS)
        assert time.process_time() - began < 2.0


def test_when_each_event_of_a_stream_came_on_both_sides() -> None:
    made = payloads(1000, secrets=(SECRET,))
    made.begun(12.5, "POST", f"/v1/messages?x={SECRET}", [("content-type", "a")], {})
    made.answered(200, [("content-type", "text/event-stream"), ("set-cookie", "c"), ("x-ratelimit-a", SECRET)])
    for seconds, piece in ((0.1, b"data: a\n"), (0.2, b"\ndata: \xc3"), (0.3, b"\xa9\n\ndata: c"), (0.4, b"")):
        made.came(piece, seconds)
    made.got(f"event: {SECRET}\n\n".encode(), 0.5)
    course = made.course()
    assert course["times_ms"] == {"upstream": [200, 300, 300], "client": [500]}
    assert course["response"] == {
        "status": 200, "headers": [["content-type", "text/event-stream"], ["x-ratelimit-a", MASK]],
    }  # fmt: skip
    assert course["request"]["path"] == f"/v1/messages?x={MASK}" and course["now"] == 12.5


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(1, 900)), max_size=12), st.integers(1, 60))
def test_there_is_a_time_for_each_event_that_is_shown(pieces: list[tuple[bytes, int]], bound: int) -> None:
    made = payloads(bound)
    for piece, at in pieces:
        made.came(piece.replace(b"\x07", b"\n\n"), at / 1000)
    times = made.course()["times_ms"]["upstream"]
    text = made.shown()["upstream"].get("response", {}).get("text", "")
    assert not times or len(times) == len(events(text))


def test_where_what_is_hidden_holds_an_event_no_times_are_told() -> None:
    made = payloads(1000, redact=("content",))
    made.came(b'data: {"content": "a\n\nb"}\n\n', 0.1)
    assert made.course()["times_ms"]["upstream"] == []


def test_the_times_of_pieces_have_a_bound_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIECES", 3)
    made = payloads(1000)
    for number in range(1, 9):
        made.came(b"data: a\n\n", number / 10)
    assert made.course()["times_ms"]["upstream"] == [100, 200, 300, 300, 300, 300, 300, 300]
    assert made.size == 8 * 9 + 3 * module.PIECE_BYTES
