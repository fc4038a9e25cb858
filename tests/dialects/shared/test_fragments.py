from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.fragments import (
    fragment,
    may_hold_text,
    place,
    says_something,
    several,
    string,
    text_in,
    unread,
)


@pytest.mark.parametrize(("value", "text"), [("{", "{"), (None, ""), ({"a": 1}, '{"a":1}'), ([], "[]"), ("", "")])
def test_input_is_text_however_it_came(value: Any, text: str) -> None:
    assert fragment(value) == text


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (0, 0), (3, 3), (2.0, 2), ("7", 7), ("1234567890123", 123456789), (-1, -1), (1e300, None), (0.5, None),
        (None, None), (True, None), ("", None), ("x", None), ("-1", None), ([], None), ({}, None), (1e999, None),
    ],
)  # fmt: skip
def test_an_index_is_a_number_however_it_is_written(value: Any, index: int | None) -> None:
    assert place(value) == index


DEEP: Any = "x"
for _ in range(5000):
    DEEP = [{"text": DEEP}]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", False),
        ({"type": "text", "text": ""}, False),
        ({"a": [None, 0, {}]}, False),
        ([[{"a": "x"}]], True),
        (DEEP, True),
    ],
)
def test_zero_values_say_nothing(value: Any, says: bool) -> None:
    assert says_something(value) is says


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ([{"type": "text", "text": "a"}, "b"], "ab"),
        ({"text": {"value": "a"}}, "a"),
        ({"x": "a"}, ""),
        (DEEP, ""),
    ],
)
def test_text_wherever_it_stands(value: Any, text: str) -> None:
    assert text_in(value) == text


def test_what_is_unread_and_what_may_hold_text() -> None:
    assert unread({"a": 1, "b": "", "c": {"d": 0}, "e": {"f": {}, "g": 1}}, frozenset("a")) == {"e": {"f": {}, "g": 1}}
    assert unread({"a": 1}, frozenset("a")) is None
    assert may_hold_text(b'{"x": [{"text" : "a"}]}') and may_hold_text(b'{"content":["a"]}')
    assert not may_hold_text(b'{"text": "", "id": "a"}')


@pytest.mark.parametrize(
    ("value", "parts"), [("a", ["a"]), ({"text": "a"}, [{"text": "a"}]), (["a"], ["a"]), (None, None), (7, 7)]
)
def test_one_part_may_come_without_its_list(value: Any, parts: Any) -> None:
    assert several(value) == parts


@pytest.mark.parametrize(("value", "text"), [("a", "a"), ("", ""), (None, ""), (7, ""), (["a"], "")])
def test_what_is_no_text_is_an_empty_one(value: Any, text: str) -> None:
    assert string({"name": value}, "name") == text and string({}, "name") == ""
