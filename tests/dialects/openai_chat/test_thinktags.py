from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.openai_chat.thinktags import ThinkTags


def cut(*pieces: str) -> tuple[str, str]:
    """All the reasoning, and all the answer."""
    tags = ThinkTags()
    out = [each for piece in pieces for each in tags.feed(piece)] + list(tags.end())
    assert all(text for _, text in out)
    return "".join(text for thinks, text in out if thinks), "".join(text for thinks, text in out if not thinks)


CASES = [
    ("<think>why</think>answer", "why", "answer"),
    ("\n <think>\nwhy\n</think>\n\nanswer\n", "\nwhy\n", "answer\n"),
    ("<mm:think>why</mm:think>a", "why", "a"),
    ("<think></think>a", "", "a"),
    ("<think>\n\n</think>\n\na", "", "a"),  # Qwen, told not to think
    ("<think>\n \n", "\n \n", ""),
    ("<thought>why</thought>a", "why", "a"),
    ("[THINK]why[/THINK]a", "why", "a"),
    ("<think>never closed", "never closed", ""),
    ("<think>almost</thin", "almost</thin", ""),
    ("<think>a</b></think>c", "a</b>", "c"),
    ("<thinking>no", "", "<thinking>no"),
    ("<th", "", "<th"),
    ("text <think>late</think>", "", "text <think>late</think>"),
    ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "thinking", "answer"), CASES)
def test_tags(text: str, thinking: str, answer: str) -> None:
    assert cut(text) == (thinking, answer)
    assert cut(*text) == (thinking, answer)


@given(st.sampled_from(CASES), st.lists(st.integers(0, 40), max_size=5))
def test_any_cut_gives_the_same(case: tuple[str, str, str], cuts: list[int]) -> None:
    text, *expected = case
    places = sorted(min(place, len(text)) for place in cuts)
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert cut(*pieces) == tuple(expected)


def test_no_more_is_held_back_than_may_become_a_tag() -> None:
    tags = ThinkTags()
    assert list(tags.feed("<think>abc</")) == [(True, "abc")]
    assert list(tags.feed("x")) == [(True, "</x")]
    assert list(ThinkTags().feed("hi <")) == [(False, "hi <")]
