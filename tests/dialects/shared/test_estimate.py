from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from extproc import dialects
from extproc.dialects.base import ClientCall
from extproc.dialects.shared.estimate import IMAGE_TOKENS, MESSAGE_TOKENS, SAMPLE, TOOLS, estimate, tokens_of
from extproc.llm.losses import LossReport
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

TESTS = Path(__file__).parents[2]
GOLDEN = [json.loads(line) for line in (TESTS / "golden" / "counts.jsonl").read_text("utf-8").splitlines()]
"""Conversations, each with its tokens by OpenAI's published way of counting them (o200k_base)."""
RECORDED = [
    case
    for line in (TESTS / "cases" / "peers" / "passed.jsonl").read_text("utf-8").splitlines()
    if (case := json.loads(line))["kind"] == "recorded"
]
WORDS = "four letter word " * 33
URL = Source("url", "https://e.x")


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"].replace(" ", "-"))
def test_within_15_percent_of_what_is_counted(case: dict[str, Any]) -> None:
    call = ClientCall("POST", "/v1/chat/completions", [], json.dumps(case["request"]).encode())
    told = estimate(dialects.get("openai_chat").parse_request(call, LossReport()))
    assert abs(told / case["tokens"] - 1) <= 0.15, (told, case["tokens"])


def test_within_15_percent_of_what_openai_was_recorded_to_count() -> None:
    """Its older tokenizer; of a few words more than that can be one token."""
    long = 0
    for case in RECORDED:
        texts, used = case["input"]["input"], case["expected"]["body"]["usage"]["prompt_tokens"]
        if isinstance(texts, str) and used > 100:
            long += 1
            assert abs(tokens_of(texts.encode()) / used - 1) <= 0.15, case["case"]
    assert long == 2


def tokens(*blocks: Any, **members: Any) -> float:
    messages = [Message("user", list(blocks))] if blocks else []
    known = Request(dialect="x", model="m", messages=messages, **members)
    return estimate(known) - MESSAGE_TOKENS * (len(known.system) + len(messages) + 1)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Text(WORDS), 99),
        (Text("été"), 2),
        (Thinking(WORDS, "S" * 1000), 99),
        (Image(URL), IMAGE_TOKENS),
        (Audio("AA", "wav"), IMAGE_TOKENS),
        (Document(URL), IMAGE_TOKENS),
        (Document(Source("text", WORDS), title="one two", context="three"), 102),
        (Document(blocks=[Text(WORDS), Image(URL)]), 99 + IMAGE_TOKENS),
        (SearchResult("s", "one two", [Text(WORDS)]), 101),
        (ToolCall("c", "function", '{"a": 1}'), 6),
        (ToolCall("c", "function", input={"a": 1}), 6),
        (ToolResult("c", WORDS), 99),
        (ToolResult("c", [Text(WORDS), Image(URL)]), 99 + IMAGE_TOKENS),
        (Opaque("x", {"a": 1}), 5),
    ],
    ids=repr,
)
def test_each_kind_of_block(block: Any, expected: int) -> None:
    assert abs(tokens(block) - expected) <= 1


def test_all_that_a_model_reads() -> None:
    assert tokens(system=[Message("system", WORDS)]) == 99
    assert abs(tokens(tools=[Tool("f", description=WORDS, schema={"a": 1})]) - TOOLS * 116) <= 2
    assert tokens(tools=[Tool("w", "web_search", native={"type": "x"})]) > 4
    assert tokens() == 0


def test_a_long_text_is_looked_at_in_places() -> None:
    once = tokens_of(WORDS.encode())
    times = 4 * SAMPLE // len(WORDS)
    assert abs(tokens_of(WORDS.encode() * times) / (once * times) - 1) < 0.01
    began = time.perf_counter()
    tokens_of(b"a " * 8_000_000)
    assert time.perf_counter() - began < 2
