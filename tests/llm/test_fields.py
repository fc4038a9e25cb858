from __future__ import annotations

import pytest

from extproc.llm.failures import ProtocolError
from extproc.llm.fields import Fields, json_type


def test_what_is_taken_is_gone_and_the_rest_is_reported() -> None:
    fields = Fields({"a": 1, "b": "x", "c": None, "d": [1]}, "body")
    assert fields.take("a", int) == 1
    assert "b" in fields
    assert "c" not in fields
    assert fields.rest() == {"b": "x", "d": [1]}
    assert fields.take("b", str) == "x"
    assert fields.take("d", list) == [1]
    assert fields.rest() is None


@pytest.mark.parametrize(
    ("take", "problem"),
    [
        (lambda f: f.take("missing", str), "body.missing: is missing"),
        (lambda f: f.take("null", str), "body.null: is missing"),
        (lambda f: f.take("text", int), "body.text: expected an integer, got a string"),
        (lambda f: f.take("yes", int), "body.yes: expected an integer, got a boolean"),
        (lambda f: f.take("half", int), "body.half: expected an integer, got a number"),
        (lambda f: f.maybe("much", int), "body.much: expected an integer, got a number"),
        (lambda f: f.maybe("text", dict), "body.text: expected an object, got a string"),
        (lambda f: f.number("yes"), "body.yes: expected a number, got a boolean"),
        (lambda f: Fields(f.any("list"), f.at("list")), "body.list: expected an object, got an array"),
    ],
)
def test_problems_say_where_and_what(take: object, problem: str) -> None:
    fields = Fields({"text": "x", "yes": True, "null": None, "list": [], "half": 0.5, "much": 1e300}, "body")
    with pytest.raises(ProtocolError) as error:
        take(fields)  # type: ignore[operator]
    assert str(error.value) == problem


def test_null_and_defaults() -> None:
    fields = Fields({"null": None, "wrong": 3, "one": 1, "half": 0.5}, "")
    assert fields.take("null", str, "d") == "d"
    assert fields.maybe("null", str) is None
    assert fields.lenient("wrong", str, "d") == "d"
    assert fields.number("one") == 1
    assert fields.number("half") == 0.5
    assert fields.number("gone") is None
    assert fields.at("x") == "x"


def test_a_whole_number_may_be_written_as_a_float() -> None:
    fields = Fields({"a": 100.0, "b": -1.0}, "")
    taken = (fields.take("a", int), fields.maybe("b", int))
    assert taken == (100, -1) and {type(each) for each in taken} == {int}


def test_json_type_names() -> None:
    values: list[object] = ["", 1, 1.0, True, None, [], {}]
    named = [json_type(value) for value in values]
    assert named == ["a string", "an integer", "a number", "a boolean", "null", "an array", "an object"]
