from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.fences import Fence

CASES = [
    ('```json\n{"a": 1}\n```', '{"a": 1}'),
    ('```\n{"a": 1}\n```\n', '{"a": 1}'),
    ('\n ```JSON\r\n{"a": 1}\r\n```  ', '{"a": 1}'),
    ('{"a": 1}', '{"a": 1}'),
    ('{"a": "```\\n"}\n', '{"a": "```\\n"}\n'),
    ('Here it is:\n```json\n{"a": 1}\n```', 'Here it is:\n```json\n{"a": 1}\n```'),
    ('```json\n{"a": 1', '{"a": 1'),
    ("```", "```"),
    ("``x", "``x"),
    ("", ""),
    ('```json\n{"a":\n\n 1}\n```', '{"a":\n\n 1}'),
    ('```json{"a": 1}```', '{"a": 1}'),
    ("```json\n[1]```\n", "[1]"),
    ('````json\n{"a": "`"}\n````', '{"a": "`"}'),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_fence_around_all_goes(text: str, expected: str) -> None:
    for step in (1, 3, 1000):
        fence = Fence()
        assert "".join(fence.feed(text[i : i + step]) for i in range(0, len(text), step)) + fence.end() == expected


def test_words_behind_a_fence_stay_with_it() -> None:
    text = '```json\n{"a": 1}\n```\nThat is it.'
    fence = Fence()
    assert fence.feed(text) + fence.end() == text
    late = Fence()
    assert "".join(map(late.feed, text)) + late.end() == '{"a": 1}\n```\nThat is it.'


@given(text=st.text(st.sampled_from("`\n json{}a"), max_size=30), data=st.data())
def test_where_the_pieces_are_cut_matters_to_nothing_but_the_beginning(text: str, data: st.DataObject) -> None:
    whole = Fence()
    expected = whole.feed(text) + whole.end()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    fence = Fence()
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    told = "".join(map(fence.feed, pieces)) + fence.end()
    assert told == expected or expected == text
