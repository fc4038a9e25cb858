from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.gemini.grounding import Grounding, Offsets, length
from extproc.llm.fold import TextBlock, folded

from .helpers import golden, parsed


def test_grounding_cites_code_points_not_bytes() -> None:
    text = folded(parsed(golden("grounded"))).blocks[0]
    assert isinstance(text, TextBlock)
    first, second = text.citations
    assert (first.kind, first.url, first.title) == ("url", "https://example.com/paris", "example.com")
    assert text.text[first.start : first.end] == "Paris has 2,1 million people. "
    assert (second.url, second.start, second.end) == ("https://e.x/b", None, None)


PAGE = {"web": {"uri": "https://e.x/a", "title": "A"}}
TEXT = "é \U0001f600 z"  # 2, 1, 4, 1, 1 bytes


def cited(grounding: Any, citations: Any = None, text: str = TEXT) -> list[Any]:
    made = Grounding(4096)
    for piece in text:
        made.add(piece)
    return [(c.url, c.title, c.cited_text, c.start, c.end) for c in made.citations(grounding, citations)]


def support(segment: Any, *indices: Any) -> Any:
    return {"groundingChunks": [PAGE], "groundingSupports": [{"segment": segment, "groundingChunkIndices": [*indices]}]}


@pytest.mark.parametrize(
    ("grounding", "found"),
    [
        (support({"startIndex": 3, "endIndex": 7, "text": "\U0001f600"}, 0),
         [("https://e.x/a", "A", "\U0001f600", 2, 3)]),
        (support({"endIndex": 2}, 0), [("https://e.x/a", "A", None, 0, 1)]),
        # A segment beyond the text, none, and chunks that there are not.
        (support({"endIndex": 99}, 0), [("https://e.x/a", "A", None, None, None)]),
        (support(None, 0), [("https://e.x/a", "A", None, None, None)]),
        (support({"endIndex": 2}, 1, -1, "0"), [("https://e.x/a", "A", None, None, None)]),
        ({"groundingChunks": [{"web": {}}, 3, {"maps": {"uri": "m"}}]}, [("m", None, None, None, None)]),
        ({"groundingChunks": 3, "groundingSupports": 3}, []),
        (None, []),
    ],
)  # fmt: skip
def test_what_grounds_the_text(grounding: Any, found: list[Any]) -> None:
    assert cited(grounding) == found


def test_what_the_text_recites() -> None:
    citations = {"citations": [{"uri": "u", "startIndex": 0, "endIndex": 2}, {"uri": ""}, {"license": "x"}, 3]}
    assert cited(None, citations) == [("u", None, None, 0, 1)]


def test_each_text_has_places_of_its_own() -> None:
    made = Grounding(4096)
    made.add("x" * 9)
    made.start()
    made.add("ab")
    (found,) = made.citations(support({"endIndex": 9}, 0), None)
    assert (found.start, found.end) == (None, None)


def test_a_text_that_is_too_long_is_cited_without_places() -> None:
    made = Grounding(1000)
    made.add("x" * 2000)
    (citation,) = made.citations(support({"endIndex": 2}, 0), None)
    assert (citation.url, citation.start, citation.end) == ("https://e.x/a", None, None)


def test_what_citations_do_not_say() -> None:
    rest = Grounding(4096).rest({"groundingChunks": [PAGE], "webSearchQueries": ["q"], "x": {}})
    assert rest == {"webSearchQueries": ["q"]}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6), st.integers(0, 3))
def test_every_place_is_counted_in_code_points(texts: list[str], wide: int) -> None:
    text = "".join(texts) + "\u20ac\u00e9a" * 3000 * wide
    made = Grounding(1_000_000)
    for part in (*texts, text[len("".join(texts)) :]):
        made.add(part)
    data = text.encode()
    for begin in {0, 1, len(data) // 3, len(data) // 2, 4095, 4096, 4097, len(data) - 2} & set(range(len(data))):
        cited = {"startIndex": begin, "endIndex": len(data), "uri": "u"}
        (got,) = made.citations(None, {"citations": [cited]})
        assert (got.start, got.end) == (len(data[:begin].decode("utf-8", "ignore")), len(text))


@given(
    st.lists(st.sampled_from(["a", "\u00e9", "\u4e2d", "\U0001f600", "\ud800", "x" * 3000])),
    st.lists(st.integers(0, 9000)),
)
def test_a_place_in_a_text_is_found_in_its_bytes(parts: list[str], points: list[int]) -> None:
    text = "".join(parts)
    offsets = Offsets(text)
    for point in points:
        assert offsets.of(point) == len(text[:point].encode("utf-8", "surrogatepass"))
    assert length(text) == offsets.of(len(text))
