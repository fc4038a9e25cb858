from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_chat.calls import Calls, fragment


def found(*items: tuple[int | None, str, str, str]) -> list[int]:
    """Which call each item of (index, id, name, fragment) belongs to."""
    calls, out = Calls(), []
    for index, id_, name, text in items:
        call = calls.find({} if index is None else {"index": index}, id_, name)
        call.id, call.name = call.id or id_, call.name or name
        call.parts += [text] if text else []
        out.append(calls.all.index(call))
    return out


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([(0, "a", "f", ""), (0, "", "", "{"), (1, "b", "g", ""), (0, "", "", "}")], [0, 0, 1, 0]),
        ([(0, "a", "f", "{}"), (0, "b", "f", "{}"), (0, "", "", "")], [0, 1, 1]),
        ([(0, "a", "f", "{"), (0, "a", "f", "}")], [0, 0]),
        ([(None, "a", "f", "{}"), (None, "b", "f", "{}")], [0, 1]),
        ([(None, "a", "f", "{"), (None, "a", "", "}"), (None, "", "", "")], [0, 0, 0]),
        ([(None, "", "f", "{}"), (None, "", "f", "{}")], [0, 1]),
        ([(0, "", "f", "{"), (0, "", "f", "}"), (0, "", "f", "{}")], [0, 0, 1]),
        ([(0, "", "f", "{"), (0, "", "g", "{")], [0, 1]),
    ],
)
def test_which_call(items: Any, expected: list[int]) -> None:
    assert found(*items) == expected


def test_fragments() -> None:
    values: list[Any] = ["{", None, {"a": 1}, []]
    assert [fragment(value) for value in values] == ["{", "", '{"a":1}', "[]"]
