from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.llm.jsonkeys import KeyRenamer, renamed

NAMES = {"a": "A B", 'q"': "é", "x": "y"}
KEYS = st.sampled_from(["a", 'q"', "x", "b", "\\", "é"])
VALUES = st.recursive(
    st.one_of(st.integers(), st.sampled_from(["a", '"a":', "{,", "\\"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans(), st.lists(st.integers(0, 80), max_size=5))
def test_only_the_outermost_names_change_however_the_text_is_cut(value: Any, ascii_: bool, cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_)
    expected = {NAMES.get(key, key): each for key, each in value.items()}
    assert json.loads(renamed(text, NAMES)) == expected
    renamer, out, last = KeyRenamer(NAMES), "", 0
    for cut in [*sorted(cuts), len(text)]:
        out += renamer.feed(text[last:cut])
        last = max(last, cut)
    assert out + renamer.end() == renamed(text, NAMES)


@pytest.mark.parametrize("text", ["", "[", '["a", {"a": 1}]', '"a"', "1", '{"b', "{", '{"a\\'])
def test_what_is_no_object_or_not_whole_passes(text: str) -> None:
    assert renamed(text, NAMES) == text
