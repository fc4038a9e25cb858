from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.llm.jsonscan import JsonScanner

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[]:,é😀\n', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\{}[]', max_size=4), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(alphabet='ab"\\{}[]', max_size=5), VALUES, max_size=4)


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@given(OBJECTS, st.booleans(), st.lists(st.integers(0, 200), max_size=8))
def test_complete_with_the_last_bracket_and_not_before(value: object, ascii_: bool, cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_)
    scanner = JsonScanner()
    for piece in pieces(text[:-1], cuts):
        assert scanner.feed(piece) is False
    assert scanner.feed(text[-1]) is True
    assert scanner.complete


@given(OBJECTS, st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_gives_the_same(value: object, cuts: list[int]) -> None:
    text = json.dumps(value) + " {"
    scanner = JsonScanner()
    for piece in pieces(text, cuts):
        scanner.feed(piece)
    assert scanner.complete


UNFINISHED = ["", " ", "}", "]{", "null", "12", '"{}"', '"', "[", "[{}", '{"a":"}', '{"a":"\\"}', '{"a":"\\\\\\"}']


@pytest.mark.parametrize("text", UNFINISHED)
def test_not_complete(text: str) -> None:
    whole, by_one = JsonScanner(), JsonScanner()
    assert whole.feed(text) is False
    assert not any(by_one.feed(character) for character in text)


def test_an_escape_over_a_cut() -> None:
    scanner = JsonScanner()
    assert [scanner.feed(piece) for piece in ['{"a":"\\', "", '"', '}"', "}"]] == [False, False, False, False, True]


def test_what_follows_changes_nothing() -> None:
    scanner = JsonScanner()
    assert scanner.feed("[1] and {")
    assert scanner.feed('"')
