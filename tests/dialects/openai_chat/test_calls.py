from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.dialects.openai_chat.calls import Calls
from extproc.llm.failures import ProtocolError
from tests.properties.growth import grows_with_its_length

TOOLS = frozenset({"f", "g", "edit_file", "edit_all"})
Item = tuple[Any, str, str, str]


def found(*items: Item) -> list[int]:
    """Which call each item of (index, id, name, fragment) belongs to."""
    calls, out = Calls(TOOLS), []
    for index, id_, name, text in items:
        call = calls.find({} if index is None else {"index": index}, id_, name, text)
        call.id, call.name = call.id or id_, call.name or name
        call.input.feed(text)
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
        # another id in mid-call, with no name, or with the same one
        ([(0, "a", "f", ""), (0, "b", "", "{"), (0, "c", "", "}"), (0, "b", "", "")], [0, 0, 0, 0]),
        ([(0, "a", "f", "{"), (0, "b", "f", "}")], [0, 0]),
        ([(None, "a", "f", "{"), (None, "b", "", "}")], [0, 0]),
        # indexes of other kinds
        ([("0", "a", "f", ""), ("1", "b", "g", ""), ("0", "", "", "{}"), (1.0, "", "", "{}")], [0, 1, 0, 1]),
        # the head under one index, the input under another
        ([(0, "a", "f", "{}"), (0, "b", "g", ""), (1, "", "", "{"), (1, "", "", "}")], [0, 1, 1, 1]),
        ([(0, "a", "f", ""), (1, "a", "", "{}"), (1, "b", "g", "{}")], [0, 0, 1]),
        ([(0, "a", "f", ""), (1, "b", "g", ""), (5, "a", "", "{}"), (6, "b", "", "{}")], [0, 1, 0, 1]),
        # a known id, whatever the index
        ([(0, "a", "f", "{"), (1, "b", "g", "{"), (1, "a", "", "}"), (1, "", "", "}")], [0, 1, 0, 1]),
        # told again under another index; the same id with another input
        ([(0, "a", "f", '{"x":1}'), (1, "a", "f", '{ "x": 1 }')], [0, 0]),
        ([(0, "a", "f", '{"x":1}'), (1, "a", "f", '{"x":2}')], [0, 1]),
        # a call that ended without its id, then another of its index
        ([(0, "a", "f", "{}"), (0, "", "g", "{}")], [0, 1]),
        ([(0, "a", "f", "{}"), (0, "", "f", "")], [0, 0]),
        ([(0, "a", "f", '{"x":1}'), (0, "", "f", '{"x":1}')], [0, 0]),
        ([(0, "a", "f", '{"x":1}'), (0, "", "f", '{"x":2}')], [0, 1]),
        # a name that comes late, or in pieces
        ([(0, "a", "", ""), (0, "", "f", "{}")], [0, 0]),
        ([(0, "a", "f", ""), (1, "b", "", ""), (1, "", "g", "{}")], [0, 1, 1]),
        ([(0, "a", "edit_", ""), (0, "", "file", "")], [0, 0]),
        ([(0, "a", "f", ""), (0, "", "edit_file", "")], [0, 1]),
    ],
)
def test_which_call(items: list[Item], expected: list[int]) -> None:
    assert found(*items) == expected


@pytest.mark.parametrize(
    "items",
    [
        [(0, "a", "f", ""), (1, "b", "g", ""), (2, "", "", "{}")],
        # two heads at one place, and an input for it
        [(0, "a", "f", ""), (0, "b", "g", ""), (0, "", "", "{}")],
        [(None, "a", "f", ""), (None, "b", "g", ""), (None, "", "", "{}")],
        [(None, "", "f", ""), (None, "", "g", ""), (None, "", "", "{")],
    ],
)
def test_no_guess_between_two_calls(items: list[Item]) -> None:
    with pytest.raises(ProtocolError, match="one of several"):
        found(*items)


def test_pieces_of_names_are_told_in_little_time_however_many_tools_there_are() -> None:
    def asked(n: int) -> Callable[[], object]:
        calls = Calls(frozenset(f"{i}_tool" for i in range(n)))
        assert calls.is_piece("1_to") and not calls.is_piece("1_tool") and not calls.is_piece("tool")
        return lambda: [calls.is_piece(f"x{i}") for i in range(n)]

    grows_with_its_length(asked, 2000)


@pytest.mark.parametrize("index", [0, None])
def test_where_a_piece_belongs_is_told_in_little_time_however_long_the_input_is(index: int | None) -> None:
    def told(n: int) -> Callable[[], object]:
        items = [(index, "a", "f", '{"x":"'), *[(index, "", "", "y" * 200)] * n]
        return lambda: found(*items)

    grows_with_its_length(told, 2000)
