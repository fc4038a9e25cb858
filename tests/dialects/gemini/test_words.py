from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.gemini.words import (
    FINISH_NAMES,
    FINISH_REASONS,
    GeminiFields,
    camel,
    read_usage,
    snake,
    write_usage,
)
from extproc.llm.events import StopReason, Usage
from extproc.llm.failures import ProtocolError


@pytest.mark.parametrize(
    ("snakes", "humps"), [("mime_type", "mimeType"), ("top_k", "topK"), ("a", "a"), ("x_1", "x1"), ("", "")]
)
def test_both_spellings_of_a_name(snakes: str, humps: str) -> None:
    assert camel(snakes) == humps == camel(humps)
    assert snake(humps) in (snakes, snakes.replace("_", ""))


def test_every_end_has_a_word_and_no_word_two_meanings() -> None:
    assert set(FINISH_NAMES) == set(StopReason)
    # What is said to Gemini's clients is read back as no less of an end.
    for reason, word in FINISH_NAMES.items():
        back = FINISH_REASONS.get(word, StopReason.OTHER)
        assert (back is StopReason.END) == (word == "STOP"), reason


def test_members_in_either_spelling() -> None:
    fields = GeminiFields({"mime_type": "a", "fileUri": "b", "x_new": 1}, "at")
    assert (fields.take("mimeType", str), fields.take("fileUri", str)) == ("a", "b")
    assert fields.at("xNew") == "at.x_new" and fields.left() == {"x_new": 1}
    with pytest.raises(ProtocolError, match=r"at\.top_k: expected"):
        GeminiFields({"top_k": "x"}, "at").take("topK", int)


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"promptTokenCount": 3, "candidatesTokenCount": 2}, Usage(3, 2)),
        ({"promptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 4}, Usage(3, 6, None, None, 4)),
        ({"promptTokenCount": 3, "totalTokenCount": 3}, Usage(3, 0)),
        ({"promptTokenCount": 3, "toolUsePromptTokenCount": 4, "totalTokenCount": 9}, Usage(7, 2)),
        ({"promptTokenCount": 9, "cachedContentTokenCount": 5}, Usage(9, None, 5)),
        ({"promptTokenCount": "x", "candidatesTokenCount": -1}, Usage()),
        ({"promptTokenCount": "3", "candidatesTokenCount": 2.0}, Usage(3, 2)),
        ({"promptTokenCount": 3, "cachedContentTokenCount": 9}, Usage(3, None, 3)),
        ([], Usage()),
        (None, Usage()),
    ],
)
def test_counts_read(wire: Any, usage: Usage) -> None:
    assert read_usage(wire) == usage


@pytest.mark.parametrize(
    ("usage", "wire"),
    [
        (Usage(), None),
        (Usage(3, 2), {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}),
        (
            Usage(3, 6, 1, None, 4),
            {
                "promptTokenCount": 3,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 4,
                "cachedContentTokenCount": 1,
                "totalTokenCount": 9,
            },
        ),
    ],
)
def test_counts_written_are_read_back(usage: Usage, wire: Any) -> None:
    assert write_usage(usage) == wire
    assert read_usage(wire) == usage
