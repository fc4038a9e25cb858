from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.estimate import IMAGE_TOKENS, MESSAGE_TOKENS, estimate
from extproc.llm.request import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Request,
    SearchResult,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

WORDS = "four letter word" * 25  # 100 tokens
URL = Source("url", "https://e.x")


def tokens(*blocks: Any, **members: Any) -> int:
    messages = [Message("user", list(blocks))] if blocks else []
    return estimate(Request(dialect="x", model="m", messages=messages, **members)) - MESSAGE_TOKENS * len(messages)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Text(WORDS), 100),
        (Text("é" * 4), 2),
        (Thinking(WORDS, "S" * 1000), 100),
        (Image(URL), IMAGE_TOKENS),
        (Audio("AA", "wav"), IMAGE_TOKENS),
        (Document(URL), IMAGE_TOKENS),
        (Document(Source("text", WORDS), title="t" * 8, context="c" * 8), 104),
        (Document(blocks=[Text(WORDS), Image(URL)]), 100 + IMAGE_TOKENS),
        (SearchResult("s", "t" * 8, [Text(WORDS)]), 102),
        (ToolCall("c", "f" * 8, '{"a": 1}'), 4),
        (ToolCall("c", "f" * 8, input={"a": 1}), 4),
        (ToolResult("c", WORDS), 100),
        (ToolResult("c", [Text(WORDS), Image(URL)]), 100 + IMAGE_TOKENS),
        (Opaque("x", {"a": 1}), 2),
    ],
    ids=repr,
)
def test_each_kind_of_block(block: Any, expected: int) -> None:
    assert tokens(block) == expected


def test_all_that_a_model_reads() -> None:
    assert tokens(system=[Message("system", WORDS)]) == 100
    assert tokens(tools=[Tool("f" * 4, description=WORDS, schema={"a": 1})]) == 100 + 13
    assert tokens(tools=[Tool("w", "web_search", native={"type": "x"})]) == 9
    assert tokens() == 0
