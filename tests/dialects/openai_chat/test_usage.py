from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_chat.usage import write_usage
from extproc.dialects.shared.counts import read_openais as read_usage
from extproc.llm.events import Usage

FULL = {
    "prompt_tokens": 160,
    "completion_tokens": 25,
    "total_tokens": 185,
    "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50},
    "completion_tokens_details": {"reasoning_tokens": 20},
}


@pytest.mark.rows("C6")
def test_there_and_back() -> None:
    assert read_usage(FULL) == Usage(160, 25, 100, 50, 20)
    assert write_usage(read_usage(FULL)) == FULL


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, Usage()),
        ({"prompt_tokens": 4, "completion_tokens": 2, "prompt_cache_hit_tokens": 3}, Usage(4, 2, 3)),
        ({"prompt_tokens": 4, "cached_tokens": 3}, Usage(4, None, 3)),
        ({"prompt_tokens": 1, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(1)),
        ({"prompt_tokens": "1", "completion_tokens": -2, "prompt_tokens_details": 3}, Usage(1)),
        (
            {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "reasoning_tokens": 1},
            Usage(1, 2, None, None, 1),
        ),
        # Gemini's completion leaves reasoning out without a word; what one count lacks the others tell.
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 15}, Usage(10, 5)),
        ({"completion_tokens": 2, "total_tokens": 15}, Usage(13, 2)),
        ({"prompt_tokens": 13, "total_tokens": 15}, Usage(13, 2)),
        ({"total_tokens": 15}, Usage()),
        # Anthropic's own, whose input leaves out what went through the cache.
        (
            {"input_tokens": 4, "output_tokens": 2, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 2},
            Usage(12, 2, 6, 2),
        ),
        ({"prompt_tokens": 9, "cache_creation": {"ephemeral_5m_input_tokens": 2}}, Usage(9, None, None, 2)),
        ({"promptTokens": 9, "completionTokens": 2}, Usage(9, 2)),
        # By the names of the other API, in part or wholly.
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "input_tokens_details": {"cached_tokens": 3},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(9, 4, 3, None, 2),
        ),
        (
            {"input_tokens": 9, "output_tokens": 4, "prompt_tokens_details": {"cached_tokens": 30}},
            Usage(9, 4, 9),
        ),
        # xAI: the total holds what the completion leaves out
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(10, 25, None, None, 20),
        ),
    ],
    ids=repr,
)
def test_what_servers_say(usage: dict[str, Any], expected: Usage) -> None:
    assert read_usage(usage) == expected


def test_unknown_counts_are_not_made_up() -> None:
    assert write_usage(Usage()) is None
    assert write_usage(Usage(output_tokens=3)) == {
        "prompt_tokens": 0,
        "completion_tokens": 3,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
