from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.bedrock_converse.words import (
    NAME,
    STOPS,
    read_citation,
    read_redacted,
    read_tier,
    read_usage,
    stop_word,
    write_citation,
    write_redacted,
    write_tier,
    write_usage,
)
from extproc.llm.events import Citation, StopReason, Usage


def test_every_end_has_a_word_of_converses() -> None:
    for reason in StopReason:
        assert stop_word(reason, None) in STOPS
    for word, reason in STOPS.items():
        assert stop_word(reason, word) == word, "a word that means the same stays"
    assert stop_word(StopReason.TOOL_CALL, "end_turn") == "tool_use"


@pytest.mark.parametrize(
    ("usage", "wire"),
    [
        (Usage(3, 2), {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}),
        (
            Usage(9, 2, 4, 1),
            {
                "inputTokens": 4,
                "outputTokens": 2,
                "totalTokens": 11,
                "cacheReadInputTokens": 4,
                "cacheWriteInputTokens": 1,
            },
        ),
    ],
)
def test_counts_there_and_back(usage: Usage, wire: Any) -> None:
    assert write_usage(usage) == wire
    assert read_usage(wire) == usage


def test_counts_that_are_none() -> None:
    assert read_usage(None) == read_usage({}) == Usage()
    assert write_usage(Usage()) == {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    assert write_usage(Usage(1, 0, 5))["inputTokens"] == 0, "a count is never negative"


@pytest.mark.parametrize("tier", ["standard", "priority", "flex"])
def test_tiers_there_and_back(tier: str) -> None:
    assert read_tier(write_tier(tier)) == tier


@pytest.mark.parametrize("tier", ["fast", "auto", None])
def test_tiers_that_converse_does_not_know(tier: str | None) -> None:
    assert write_tier(tier) is None and read_tier(tier) is None


def test_citations() -> None:
    page = {"title": "T", "sourceContent": [{"text": "a"}, {"x": 1}], "location": {"web": {"url": "u"}}}
    read = read_citation(page)
    assert (read.kind, read.url, read.title, read.cited_text) == ("url", "u", "T", "a")
    assert write_citation(read) is page
    assert write_citation(Citation("url", "other", "u", cited_text="q")) == {
        "sourceContent": [{"text": "q"}],
        "location": {"web": {"url": "u"}},
    }
    assert write_citation(Citation("page_location", "other")) is None
    odd = read_citation({"location": {"documentPage": {}}, "title": 3, "sourceContent": 3})
    assert (odd.kind, odd.dialect, odd.url, odd.title, odd.cited_text) == ("document", NAME, "", None, None)


@pytest.mark.parametrize("blob", ["UkVE", "/wA=", "no base64!", ""])
def test_redacted_thinking_comes_back_as_it_was(blob: str) -> None:
    assert write_redacted(*read_redacted(blob)) == blob
