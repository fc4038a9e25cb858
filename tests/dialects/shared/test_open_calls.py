from __future__ import annotations

from extproc.dialects.shared.open_calls import OpenCalls


def test_each_value_is_taken_once_by_any_of_its_keys() -> None:
    calls = OpenCalls()
    calls.add(1, ("id", "a"), ("name", "f"))
    calls.add(2, ("id", "b"), ("name", "f"))
    assert calls
    assert calls.take(("id", "a")) == 1
    assert calls.take(("id", "a")) is None
    assert calls.take(("name", "f")) == 2
    assert calls.take(("name", "f")) is None
    assert not calls


def test_values_of_one_key_are_taken_in_their_order() -> None:
    calls = OpenCalls()
    for value in range(4):
        calls.add(value, "" if value != 2 else "x")
    assert [calls.take(""), calls.take_first(), calls.take(""), calls.take("")] == [0, 1, 3, None]
    assert calls.rest() == [2]
    assert calls.take("x") is None
    assert calls.take_first() is None
