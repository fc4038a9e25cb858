from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_chat.thoughts import Thoughts, read, text_of
from extproc.dialects.openai_chat.vocabulary import CLAUDE

BLOCK = {"type": "thinking", "thinking": "w", "signature": "S"}
MARKED = BLOCK | {"format": CLAUDE}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content"])
def test_a_text_under_each_name(name: str) -> None:
    assert read({"content": "a", name: "r"}) == Thoughts("r")
    assert read({name: {"text": "r"}}) == read({name: [{"summary": "r"}]}) == Thoughts("r")


@pytest.mark.parametrize("delta", [{}, {"content": "a"}, {"tool_calls": []}])
def test_most_deltas_hold_none(delta: Any) -> None:
    assert read(delta) is None


@pytest.mark.parametrize(
    ("delta", "thoughts"),
    [
        ({"thinking_blocks": [BLOCK, 3]}, Thoughts("", [MARKED], True)),
        ({"provider_specific_fields": {"thinking_blocks": [BLOCK]}}, Thoughts("", [MARKED], True)),
        # A block that only seals says nothing that the text has not said.
        ({"reasoning_content": "w", "thinking_blocks": [{"signature": "S"}]},
         Thoughts("w", [{"signature": "S", "format": CLAUDE}], False)),
        ({"reasoning_content": {"text": "w", "signature": "S"}}, Thoughts("w", [MARKED], True)),
        ({"reasoning_details": [{"text": "a"}], "reasoning": "a"}, Thoughts("a", [{"text": "a"}])),
        ({"reasoning_details": "x", "reasoning": None}, Thoughts()),
        ({"reasoning_opaque": "E", "reasoning_text": "a"}, Thoughts("a", opaque="reasoning_opaque")),
        ({"provider_specific_fields": {"x": 1, "y": None}}, Thoughts(unread=("x",))),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_delta_holds(delta: Any, thoughts: Thoughts) -> None:
    assert read(delta) == thoughts


@pytest.mark.parametrize(
    ("part", "text"),
    [("a", "a"), ({"content": [{"text": "a"}, "b"]}, "ab"), ({"x": "a"}, ""), (None, ""), (3, ""), ([], "")],
)
def test_the_text_of_a_part(part: Any, text: str) -> None:
    assert text_of(part) == text
