from __future__ import annotations

import json

from extproc.conformance import Cell, Grade, Judgement, report
from extproc.conformance.report import WORDS

ROWS = [
    Cell("gemini", "openai_chat", "text", Judgement(Grade.EXACT)),
    Cell("gemini", "openai_responses", "text", Judgement(Grade.SILENT, "expected 'a', got ''")),
]


def test_text_ends_with_the_faults() -> None:
    assert report.as_text(ROWS).splitlines() == [
        "gemini  openai_chat  openai_responses",
        "text    exact        silent",
        "",
        "gemini on openai_responses, text: silent: expected 'a', got ''",
    ]
    assert report.as_text(ROWS[:1]).endswith("\n\nno faults")


def test_json() -> None:
    first, second = json.loads(report.as_json(ROWS))
    assert first == {"client": "gemini", "upstream": "openai_chat", "feature": "text", "grade": "exact", "detail": ""}
    assert second["detail"] == "expected 'a', got ''"


def test_markdown() -> None:
    titles = {"gemini": "Gemini", "openai_chat": "Chat", "openai_responses": "Responses"}
    assert report.as_markdown(ROWS, titles).splitlines() == [
        "## Gemini as the client", "", "| feature | Chat | Responses |", "|---|---|---|",
        "| text of the user | exact | silent |",
    ]  # fmt: skip


def test_only_faults_are_faults() -> None:
    assert report.faults(ROWS) == ROWS[1:]


def test_every_verdict_is_explained() -> None:
    assert set(WORDS) == set(Grade)
