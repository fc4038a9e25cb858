"""What is taken for the text of a message is what reading all of it finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.alike import MAX_TRIES, Alike


def read(data: bytes) -> str | None:
    try:
        message = json.loads(data)
    except ValueError:
        return None
    text = message.get("content") if type(message) is dict else None
    return text if type(text) is str else None


def message(**members: Any) -> bytes:
    return json.dumps(members).encode()


def learned(data: bytes) -> Alike:
    alike, text = Alike(), read(data)
    assert text is not None
    alike.learn(data, text, read)
    return alike


TEXTS = (
    st.sampled_from(["a", "b", "", ",", ":", "{", '"', "\\", "content", "another text", "\u00e9", "\U0001f600"])
    | st.text()
)


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.booleans())
def test_it_is_the_text_or_all_has_to_be_read(first: str, second: str, model: str, other: str, before: bool) -> None:
    def made(text: str, model: str) -> bytes:
        rest = {"model": model, "x": [model, {"content": model}]}
        return message(**({"content": text, **rest} if before else {**rest, "content": text}), obfuscation=text)

    alike = learned(made(first, model))
    for data in (made(second, model), made(first, other), made(second, model) + b" ", made(second, model)[:-1]):
        assert alike.text(data) in (None, read(data))


def test_of_messages_that_are_alike_nothing_else_is_read() -> None:
    alike = learned(b'{"id":"a","content":"x"}')
    assert alike.text(b'{"id":"a","content":"y\\n\\"z\\u00e9"}') == 'y\n"z\u00e9'
    assert alike.text(b'{"id":"b","content":"y"}') is None
    assert alike.text(b'{"id":"a","content":"y","content":"z"}') is None
    assert alike.text(b'{"id":"a","content":"y","more":"z"}') is None
    assert alike.text(b'{"id":"a","content":"\\ud800"}') is None
    assert alike.text(b'{"id":"a","content":"\xff"}') is None
    assert alike.text(b'{"id":"a","content":7}') is None
    assert Alike().text(b'"x"') is None


def test_padding_may_be_another() -> None:
    alike = learned(b'{"content":"x","n":1,"obfuscation":"a1"}')
    assert alike.text(b'{"content":"y","n":1,"obfuscation":"Bc3dE"}') == "y"
    assert alike.text(b'{"content":"y","n":1,"obfuscation":""}') == "y"
    assert alike.text(b'{"content":"y","n":2,"obfuscation":"a1"}') is None
    assert alike.text(b'{"content":"y","n":1,"obfuscation":"a1","n":2}') is None
    assert alike.text(b'{"content":"y","n":1,"obfuscation":"a1"}}') is None
    assert alike.text(b'{"content":"y","n":1,"obfuscation":"a') is None
    assert alike.text(b'{"content":"y","n":1}') is None
    assert learned(b'{"content":"x","obfuscation":"a","n":1}').text(b'{"content":"x","obfuscation":"b","n":1}') is None


@pytest.mark.parametrize(
    "data", [b'{"content":"x","content":"x"}', b'{"n":"x","content":"x"}', b'{"content":"\\u0078"}']
)
def test_what_may_be_another_member_is_no_pattern(data: bytes) -> None:
    assert learned(data).text(data) is None


def test_where_no_two_are_alike_it_gives_up() -> None:
    alike, asked = Alike(), 0

    def counted(data: bytes) -> str | None:
        nonlocal asked
        asked += 1
        return read(data)

    for number in range(2 * MAX_TRIES):
        data = message(id=number, content="x")
        assert alike.text(data) is None
        alike.learn(data, "x", counted)
    assert asked == MAX_TRIES
