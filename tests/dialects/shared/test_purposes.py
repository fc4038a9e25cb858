from __future__ import annotations

from typing import get_args

import pytest

from extproc.dialects.shared.purposes import GOOGLE, PURPOSES, demanded
from extproc.llm.embeddings import EmbedRequest, Input, Purpose
from extproc.llm.losses import LossReport


def test_every_purpose_has_a_word_of_googles_that_leads_back() -> None:
    assert set(GOOGLE) == set(get_args(Purpose))
    assert all(PURPOSES[word.lower()] == purpose for purpose, word in GOOGLE.items())


def test_words_are_looked_up_in_lower_case() -> None:
    assert all(word == word.lower() for word in PURPOSES)
    assert PURPOSES["search_query"] == PURPOSES["query"] and PURPOSES["passage"] == "document"


@pytest.mark.parametrize(
    ("purpose", "word", "losses"),
    [
        ("query", "ASK", []),
        ("clustering", "KEEP", ["task_type:downgraded"]),
        (None, "KEEP", ["input_type:rewritten"]),
    ],
)
def test_who_must_be_told_a_purpose_is_told_one(purpose: Purpose | None, word: str, losses: list[str]) -> None:
    at = {"purpose": "task_type"}
    asked = EmbedRequest(dialect="x", model="m", inputs=[Input("a", at="input")], purpose=purpose, at=at)
    report = LossReport()
    assert demanded(asked, {"query": "ASK"}, "KEEP", report) == word
    assert [str(loss) for loss in report] == losses
