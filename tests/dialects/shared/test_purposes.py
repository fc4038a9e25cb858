from __future__ import annotations

from typing import get_args

from extproc.dialects.shared.purposes import GOOGLE, PURPOSES
from extproc.llm.embeddings import Purpose


def test_every_purpose_has_a_word_of_googles_that_leads_back() -> None:
    assert set(GOOGLE) == set(get_args(Purpose))
    assert all(PURPOSES[word.lower()] == purpose for purpose, word in GOOGLE.items())


def test_words_are_looked_up_in_lower_case() -> None:
    assert all(word == word.lower() for word in PURPOSES)
    assert PURPOSES["search_query"] == PURPOSES["query"] and PURPOSES["passage"] == "document"
